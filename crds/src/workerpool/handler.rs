//! What runs a job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exactly one of its fields. The optional fields, and not an enum, are what a user who writes none or both is told of by
/// name.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.command) != has(self.http)",
        "message": "handler must have exactly one of command and http",
    },
    {
        "rule": "!has(self.stdin) || has(self.command)",
        "message": "stdin goes with command: a service is sent its job in the body of a request",
        "fieldPath": ".stdin",
    },
]))]
pub struct Handler {
    /// A program that is run for each job: the program and its arguments, as given, no shell in between. It is found in the
    /// image of the template's container `worker`, which stays as it is.
    // One environment variable holds it, and Linux takes none over 128 KiB: 16 Ki characters fit, however they are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(max = 16_384)),
        extend("x-kubernetes-validations" = [
            {
                "rule": "self.size() > 0 && self[0] != ''",
                "message": "command must begin with the name of a program",
            },
            {
                "rule": "self.map(argument, argument.size()).sum() <= 16384",
                "message": "command must have at most 16384 characters in all: put a longer script into the image or a ConfigMap",
            },
        ])
    )]
    pub command: Option<Vec<String>>,

    /// What the command reads on standard input; `Job` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Stdin>,

    /// A service that is sent each job, as a rule one of the template's other containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHandler>,
}

/// What a command reads on standard input.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum Stdin {
    /// The job as one line of JSON.
    #[default]
    Job,
    /// Nothing, for programs that take what they read there as key presses or commands, as ffmpeg, ssh and psql do.
    Empty,
}

/// Where the service is.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.readyUrl) || !has(self.readyURL) || self.readyUrl == self.readyURL",
    "message": "readyUrl is the former name of readyURL, and says otherwise: leave readyUrl out",
    "fieldPath": ".readyUrl",
}]))]
pub struct HttpHandler {
    /// Where jobs are sent by POST, as http://localhost:8000/resize.
    #[schemars(
        length(min = 1, max = 2048),
        extend("x-kubernetes-validations" = [{
            "rule": "isURL(self) && url(self).getScheme() == 'http' && url(self).getHostname() != ''",
            "message": "url must be an http:// URL with a host, as http://localhost:8000/resize",
        }])
    )]
    pub url: String,

    /// Answers below 400 while the service can take jobs; none is taken while it does not. Absent: the root of `url` may
    /// answer anything but 503.
    #[serde(rename = "readyURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 2048),
        extend("x-kubernetes-validations" = [{
            "rule": "isURL(self) && url(self).getScheme() == 'http' && url(self).getHostname() != ''",
            "message": "readyURL must be an http:// URL with a host, as http://localhost:8000/healthz",
        }])
    )]
    pub ready_url: Option<String>,

    /// Deprecated: the former name of `readyURL`, accepted until v1beta1.
    #[serde(rename = "readyUrl", default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 2048),
        extend("x-kubernetes-validations" = [{
            "rule": "isURL(self) && url(self).getScheme() == 'http' && url(self).getHostname() != ''",
            "message": "readyUrl must be an http:// URL with a host, as http://localhost:8000/healthz; its name is readyURL now",
        }])
    )]
    pub former_ready_url: Option<String>,
}

impl HttpHandler {
    /// `readyURL`, whichever name it was given by.
    #[must_use]
    pub fn ready_url(&self) -> Option<&str> {
        self.ready_url.as_deref().or(self.former_ready_url.as_deref())
    }
}

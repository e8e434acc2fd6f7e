//! Good and bad resources, and what their author reads.

/// One resource, given to the API server.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) metadata_name: Option<&'static str>,
    /// The spec that the resource has before, if it exists.
    pub(crate) given: Option<&'static str>,
    pub(crate) spec: &'static str,
    pub(crate) answer: Answer,
}

/// What kubectl says.
pub(crate) enum Answer {
    Accepted,
    /// After `The WorkerPool "NAME" is invalid: `.
    Invalid(&'static str),
    /// After the name of what could not be decoded.
    Undecodable(&'static str),
}

impl Answer {
    pub(crate) fn text(&self, name: &str) -> String {
        match self {
            Self::Accepted => "accepted".to_owned(),
            Self::Invalid(why) => format!("The WorkerPool \"{name}\" is invalid: {why}"),
            Self::Undecodable(why) => format!(
                "Error from server (BadRequest): error when creating \"STDIN\": WorkerPool in version \"v1alpha1\" cannot be \
                 handled as a WorkerPool: strict decoding error: {why}"
            ),
        }
    }
}

fn new(name: &'static str, spec: &'static str, answer: Answer) -> Case {
    Case {
        name,
        metadata_name: None,
        given: None,
        spec,
        answer,
    }
}

fn change(name: &'static str, given: &'static str, spec: &'static str, answer: Answer) -> Case {
    Case {
        given: Some(given),
        ..new(name, spec, answer)
    }
}

fn named(name: &'static str, metadata_name: &'static str, answer: Answer) -> Case {
    Case {
        metadata_name: Some(metadata_name),
        ..new(name, "{}", answer)
    }
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    use Answer::{Accepted, Invalid, Undecodable};
    vec![
        // Good ones.
        new("nothing said", "{}", Accepted),
        new("pinned", "{replicas: 0}", Accepted),
        new("paused", "{paused: true}", Accepted),
        new("the sample", "{queues: [{name: queue}], scaling: {minReplicas: 0, maxReplicas: 10, jobsPerReplica: 5}}", Accepted),
        new("a fixed size", "{scaling: {minReplicas: 3, maxReplicas: 3}}", Accepted),
        new("a host with a port", "{redis: {address: 'redis.example.com:6380', tls: {}}}", Accepted),
        new("an IPv6 address", "{redis: {address: '[fd00::1]:6379'}}", Accepted),
        new("one database for both", "{redis: {queueDB: 0, jobsDB: 0}}", Accepted),
        new("credentials and certificates",
            "{redis: {credentialsSecretRef: {name: redis-auth}, tls: {secretRef: {name: redis-tls}}}}", Accepted),
        new("a queue in a cluster", "{redis: {cluster: {addresses: [redis-cluster, '10.0.0.1:7000']}}, scaleTargetRef: {name: d}, \
            queues: [{name: mails, source: {waiting: [{key: 'bull:{mails}:wait'}]}}]}", Accepted),
        new("sentinels", "{redis: {sentinel: {masterName: mymaster, addresses: [sentinel, 'sentinel-1.example.com:26380', '[fd00::1]'], \
            credentialsSecretRef: {name: sentinel-auth}}}}", Accepted),
        new("all of worker", "{worker: {concurrency: 4, jobTimeoutSeconds: 60, leaseSeconds: 10, maxAttempts: 1, maxLost: 1, \
            backoff: {baseSeconds: 5, capSeconds: 5}, retentionSeconds: 0, deadRetentionSeconds: 0, recoverForeignJobs: true}}", Accepted),
        new("a command", "{worker: {handler: {command: [python3, /app/resize.py, '']}, jobTimeoutSeconds: 60, maxResultBytes: 1048576, killGraceSeconds: 0}, \
            template: {spec: {containers: [{name: worker, image: 'python:3-slim'}]}}}", Accepted),
        new("a command that reads no job", "{worker: {handler: {command: [ffmpeg], stdin: Empty}, telemetryPort: 65535}}", Accepted),
        new("keys of Secrets", "{redis: {credentialsSecretRef: {name: redis, passwordKey: redis-password}, tls: {secretRef: {name: t, caKey: root.pem}}, \
            sentinel: {masterName: m, addresses: [s], credentialsSecretRef: {name: s, usernameKey: user, passwordKey: sentinel_password}}}}", Accepted),
        new("labels of one's own", "{template: {metadata: {labels: {app.kubernetes.io/name: thumbs, app.kubernetes.io/part-of: shop}}}}", Accepted),
        new("a service beside the worker", "{worker: {handler: {http: {url: 'http://localhost:8000/resize', readyURL: 'http://[::1]:8000/healthz?deep=1'}}}, \
            template: {spec: {containers: [{name: service, image: 'model:1', command: [serve], args: [all]}, {name: worker, env: [{name: A, value: b}]}]}}}", Accepted),
        new("a service's readyURL by its former name",
            "{worker: {handler: {http: {url: 'http://localhost', readyUrl: 'http://localhost/healthz'}}}}", Accepted),
        new("a service's readyURL by both names", "{worker: {handler: {http: {url: 'http://localhost', readyURL: 'http://localhost/healthz', \
            readyUrl: 'http://localhost/healthz'}}}}", Accepted),
        new("all of behavior", "{scaling: {behavior: {scaleUp: {stabilizationWindowSeconds: 5, selectPolicy: Min, policies: [\
            {type: Pods, value: 4, periodSeconds: 15}, {type: Percent, value: 100, periodSeconds: 15}]}, scaleDown: {selectPolicy: Disabled}}}}", Accepted),
        new("a fallback", "{scaling: {fallback: {replicas: 2}}}", Accepted),
        new("a template without containers", "{template: {metadata: {labels: {a: b}}, spec: {nodeSelector: {disk: ssd}}}}", Accepted),
        new("a template as generators write it",
            "{template: {metadata: {name: pod, creationTimestamp: null, labels: {a: b}, annotations: {c: d}}}}", Accepted),
        new("a template with a number as quantity",
            "{template: {spec: {containers: [{name: worker, image: mine, resources: {limits: {cpu: 1, memory: 64Mi}}, ports: [{containerPort: 80}]}]}}}", Accepted),
        new("something else scaled", "{scaleTargetRef: {name: bradenp-hw7-worker-deployment}, deletionPolicy: Restore}", Accepted),
        new("queues of another system", "{queues: [{name: mails, weight: 100, source: {waiting: [{key: 'bull:mails:wait'}, \
            {type: SortedSet, key: 'bull:mails:prioritized'}], running: [{key: 'bull:mails:active'}]}}, {name: events, source: {db: 9, \
            waiting: [{type: Stream, key: events, consumerGroup: mailers}, {type: Set, key: s}, {type: Hash, key: h}]}}, {name: own}], \
            scaling: {combine: Max}, scaleTargetRef: {name: other}}", Accepted),
        new("a wait in a queue of the usual weight, said aloud", "{queues: [{name: a, weight: 1}], scaling: {targetWaitSeconds: 5}}", Accepted),
        new("a wait in a queue of the usual weight", "{queues: [{name: a}], scaling: {targetWaitSeconds: 5}}", Accepted),
        new("database 0 of a cluster, said aloud", "{redis: {cluster: {addresses: [c]}}, scaleTargetRef: {name: d}, \
            queues: [{name: mails, source: {db: 0, waiting: [{key: k}]}}]}", Accepted),
        new("no template, said aloud, and a target", "{template: null, scaleTargetRef: {name: other}}", Accepted),
        named("a name of 52 characters", "n234567890123456789012345678901234567890123456789012", Accepted),

        // Bad ones.
        named("a name of 53 characters", "n2345678901234567890123456789012345678901234567890123",
            Invalid("<nil>: Invalid value: metadata.name must have at most 52 characters: the names of the pods are made from it")),
        new("min over max", "{scaling: {minReplicas: 3, maxReplicas: 2}}",
            Invalid("spec.scaling.minReplicas: Invalid value: minReplicas must not be greater than maxReplicas (which is 10 unless given)")),
        new("min over the default of max", "{scaling: {minReplicas: 11}}",
            Invalid("spec.scaling.minReplicas: Invalid value: minReplicas must not be greater than maxReplicas (which is 10 unless given)")),
        new("a negative min", "{scaling: {minReplicas: -1}}",
            Invalid("spec.scaling.minReplicas: Invalid value: -1: spec.scaling.minReplicas in body should be greater than or equal to 0")),
        new("max zero", "{scaling: {maxReplicas: 0}}",
            Invalid("spec.scaling.maxReplicas: Invalid value: 0: spec.scaling.maxReplicas in body should be greater than or equal to 1")),
        new("no jobs per replica", "{scaling: {jobsPerReplica: 0}}",
            Invalid("spec.scaling.jobsPerReplica: Invalid value: 0: spec.scaling.jobsPerReplica in body should be greater than or equal to 1")),
        new("no time to wait", "{scaling: {targetWaitSeconds: 0}}",
            Invalid("spec.scaling.targetWaitSeconds: Invalid value: 0: spec.scaling.targetWaitSeconds in body should be greater than or equal to 1")),
        new("a rest below the minimum", "{scaling: {minReplicas: 2, idleReplicas: 1, cooldownSeconds: 60, behavior: {scaleUp: {tolerance: 0.1}}}}", Accepted),
        new("a rest that is none", "{scaling: {minReplicas: 2, idleReplicas: 2}}",
            Invalid("spec.scaling.idleReplicas: Invalid value: idleReplicas must be less than minReplicas (which is 0 unless given)")),
        new("a tolerance as a decimal", "{scaling: {behavior: {scaleUp: {tolerance: '0.1'}, scaleDown: {tolerance: '1'}}}}", Accepted),
        new("a tolerance in thousandths", "{scaling: {behavior: {scaleUp: {tolerance: 100m}, scaleDown: {tolerance: 1000m}}}}", Accepted),
        new("a tolerance as a number", "{scaling: {behavior: {scaleUp: {tolerance: 1}, scaleDown: {tolerance: 0}}}}", Accepted),
        new("a tolerance of more than all", "{scaling: {behavior: {scaleDown: {tolerance: 1.5}}}}",
            Invalid("spec.scaling.behavior.scaleDown.tolerance: Invalid value: 1.5: spec.scaling.behavior.scaleDown.tolerance in body should be less than or equal to 1")),
        new("a tolerance of less than nothing", "{scaling: {behavior: {scaleDown: {tolerance: -1}}}}",
            Invalid("spec.scaling.behavior.scaleDown.tolerance: Invalid value: -1: spec.scaling.behavior.scaleDown.tolerance in body should be greater than or equal to 0")),
        new("a tolerance in words", "{scaling: {behavior: {scaleUp: {tolerance: a lot}}}}",
            Invalid("spec.scaling.behavior.scaleUp.tolerance: Invalid value: \"a lot\": spec.scaling.behavior.scaleUp.tolerance in body should match '^(0|1|1\\.0+|0?\\.[0-9]+|[0-9]{1,3}m|1000m)$'")),
        new("a tolerance of more than all, as a decimal", "{scaling: {behavior: {scaleUp: {tolerance: '1.5'}}}}",
            Invalid("spec.scaling.behavior.scaleUp.tolerance: Invalid value: \"1.5\": spec.scaling.behavior.scaleUp.tolerance in body should match '^(0|1|1\\.0+|0?\\.[0-9]+|[0-9]{1,3}m|1000m)$'")),
        new("a tolerance that is true", "{scaling: {behavior: {scaleUp: {tolerance: true}}}}",
            Invalid("<nil>: Invalid value: \"\": \"spec.scaling.behavior.scaleUp.tolerance\" must not validate the schema (not)")),
        new("a tolerance that is an object", "{scaling: {behavior: {scaleUp: {tolerance: {}}}}}",
            Invalid("spec.scaling.behavior.scaleUp.tolerance: Invalid value: 0: spec.scaling.behavior.scaleUp.tolerance in body should have at least 1 properties")),
        new("a tolerance that is a list", "{scaling: {behavior: {scaleUp: {tolerance: []}}}}",
            Invalid("spec.scaling.behavior.scaleUp.tolerance: Invalid value: 0: spec.scaling.behavior.scaleUp.tolerance in body should have at least 1 items")),
        new("a negative threshold", "{scaling: {activationThreshold: -1}}",
            Invalid("spec.scaling.activationThreshold: Invalid value: -1: spec.scaling.activationThreshold in body should be greater than or equal to 0")),
        new("a window over an hour", "{scaling: {behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}}}",
            Invalid("spec.scaling.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: spec.scaling.behavior.scaleDown.stabilizationWindowSeconds in body should be less than or equal to 3600")),
        new("a policy of nothing", "{scaling: {behavior: {scaleUp: {policies: [{type: Pods, value: 0, periodSeconds: 60}]}}}}",
            Invalid("spec.scaling.behavior.scaleUp.policies[0].value: Invalid value: 0: spec.scaling.behavior.scaleUp.policies[0].value in body should be greater than or equal to 1")),
        new("an unknown way to choose", "{scaling: {behavior: {scaleUp: {selectPolicy: Mean}}}}",
            Invalid("\n* spec.scaling.behavior.scaleUp.selectPolicy: Unsupported value: \"Mean\": supported values: \"Max\", \"Min\", \"Disabled\"\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("schedules", "{scaling: {schedules: [{name: office, start: '0 8 * * 1-5', end: '0 18 * * 1-5', timeZone: Europe/Berlin, minReplicas: 4, \
            maxReplicas: 40}, {name: night, start: '0 22 * * *', end: '0 6 * * *', maxReplicas: 0}]}}", Accepted),
        new("a schedule of nothing", "{scaling: {schedules: [{name: s, start: '0 8 * * *', end: '0 18 * * *'}]}}",
            Invalid("spec.scaling.schedules[0]: Invalid value: a schedule says minReplicas, maxReplicas or both")),
        new("a schedule that ends when it starts", "{scaling: {schedules: [{name: s, start: '0 8 * * *', end: '0 8 * * *', minReplicas: 1}]}}",
            Invalid("spec.scaling.schedules[0].end: Invalid value: a schedule's start and end must differ")),
        new("a schedule with seconds", "{scaling: {schedules: [{name: s, start: '0 0 8 * * *', end: '0 18 * * *', minReplicas: 1}]}}",
            Invalid("spec.scaling.schedules[0].start: Invalid value: \"0 0 8 * * *\": must be five fields of cron, one blank apart: minute, hour, day of month, month, day of week")),
        new("a schedule's minimum over the pool's maximum", "{scaling: {schedules: [{name: s, start: '0 8 * * *', end: '0 18 * * *', minReplicas: 11}]}}",
            Invalid("spec.scaling.schedules: Invalid value: minReplicas must not be greater than maxReplicas while a schedule is in force; what it leaves out is that of the pool")),
        new("a schedule twice", "{scaling: {schedules: [{name: s, start: '0 8 * * *', end: '0 18 * * *', minReplicas: 1}, \
            {name: s, start: '0 9 * * *', end: '0 18 * * *', minReplicas: 2}]}}",
            Invalid("spec.scaling.schedules[1]: Duplicate value: {\"name\":\"s\"}")),
        new("a fallback over max", "{scaling: {fallback: {replicas: 11}}}",
            Invalid("spec.scaling.fallback: Invalid value: fallback.replicas must not be greater than maxReplicas (which is 10 unless given)")),
        new("a negative pin", "{replicas: -1}",
            Invalid("\n* spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0\n\
                * .spec.replicas: Invalid value: -1: should be a non-negative integer")),
        new("no queue", "{queues: []}",
            Invalid("spec.queues: Invalid value: 0: spec.queues in body should have at least 1 items")),
        new("a queue twice", "{queues: [{name: a}, {name: a}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues[1]: Duplicate value: {\"name\":\"a\"}")),
        new("nine queues", "{queues: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}, {name: f}, {name: g}, {name: h}, {name: i}]}",
            Invalid("\n* spec.queues: Too many: 9: must have at most 8 items\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("a queue's name with a colon", "{queues: [{name: 'a:b'}]}",
            Invalid("spec.queues[0].name: Invalid value: \"a:b\": a queue's name begins with a letter or digit and has only letters, digits, '.', '_' and '-'")),
        new("several queues of our own without a target", "{queues: [{name: a}, {name: b}]}", Accepted),
        new("a source without a target", "{queues: [{name: a, source: {waiting: [{key: k}]}}]}",
            Invalid("spec.queues: Invalid value: queues with a source need workers of your own: name their Deployment in scaleTargetRef")),
        new("a source beside a queue of our own without a target", "{queues: [{name: a}, {name: b, source: {waiting: [{key: k}]}}]}",
            Invalid("spec.queues: Invalid value: queues with a source need workers of your own: name their Deployment in scaleTargetRef")),
        new("a source of nothing", "{queues: [{name: a, source: {waiting: []}}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues[0].source.waiting: Invalid value: 0: spec.queues[0].source.waiting in body should have at least 1 items")),
        new("a key without a name", "{queues: [{name: a, source: {waiting: [{key: ''}]}}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues[0].source.waiting[0].key: Invalid value: \"\": spec.queues[0].source.waiting[0].key in body should be at least 1 chars long")),
        new("a key of no known type", "{queues: [{name: a, source: {waiting: [{key: k, type: String}]}}], scaleTargetRef: {name: t}}",
            Invalid("\n* spec.queues[0].source.waiting[0].type: Unsupported value: \"String\": supported values: \"List\", \"Stream\", \"SortedSet\", \"Set\", \"Hash\"\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("a consumer group of a list, said aloud", "{queues: [{name: a, source: {waiting: [{type: List, key: k, consumerGroup: g}]}}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues[0].source.waiting[0].consumerGroup: Invalid value: consumerGroup goes with type Stream")),
        new("a time to wait in a queue of some weight", "{queues: [{name: a, weight: 2}], scaling: {targetWaitSeconds: 5}}",
            Invalid("spec.scaling.targetWaitSeconds: Invalid value: targetWaitSeconds needs one queue, without source and weight: how long a job takes is known of such a queue alone; use jobsPerReplica")),
        new("a consumer group of a list", "{queues: [{name: a, source: {waiting: [{key: k, consumerGroup: g}]}}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues[0].source.waiting[0].consumerGroup: Invalid value: consumerGroup goes with type Stream")),
        new("a consumer group where jobs run", "{queues: [{name: a, source: {waiting: [{key: k}], running: [{type: Stream, key: s, consumerGroup: g}]}}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues[0].source.running: Invalid value: a consumer group belongs under waiting: what it has pending counts as running from there")),
        new("serializers of HotQueue", "{queues: [{name: a, serializer: Json}, {name: b, serializer: None}, {name: c, serializer: Pickle}]}", Accepted),
        new("a serializer that HotQueue has not", "{queues: [{name: a, serializer: Yaml}]}",
            Invalid("\n* spec.queues[0].serializer: Unsupported value: \"Yaml\": supported values: \"Pickle\", \"Json\", \"None\"\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("other programs' final words", "{worker: {foreignFinalStatuses: [finished, 'all done', Ende]}}", Accepted),
        new("a final word that is ours", "{worker: {foreignFinalStatuses: [finished, 'in progress']}}",
            Invalid("spec.worker.foreignFinalStatuses: Invalid value: submitted, in progress, complete, failed and cancelled are workerpool's own statuses: leave them out of foreignFinalStatuses")),
        new("a final word with a comma", "{worker: {foreignFinalStatuses: ['a,b']}}",
            Invalid("spec.worker.foreignFinalStatuses: Invalid value: each of foreignFinalStatuses is a word without commas and control characters, and without a space at either end")),
        new("a final word twice", "{worker: {foreignFinalStatuses: [a, a]}}",
            Invalid("spec.worker.foreignFinalStatuses[1]: Duplicate value: \"a\"")),
        new("a weight of nothing", "{queues: [{name: a, weight: 0}]}",
            Invalid("spec.queues[0].weight: Invalid value: 0: spec.queues[0].weight in body should be greater than or equal to 1")),
        new("a weight of more than is sensible", "{queues: [{name: a, weight: 101}]}",
            Invalid("spec.queues[0].weight: Invalid value: 101: spec.queues[0].weight in body should be less than or equal to 100")),
        new("a time to wait in a queue that nobody measures", "{queues: [{name: a, source: {waiting: [{key: k}]}}], scaling: {targetWaitSeconds: 5}, scaleTargetRef: {name: t}}",
            Invalid("spec.scaling.targetWaitSeconds: Invalid value: targetWaitSeconds needs one queue, without source and weight: how long a job takes is known of such a queue alone; use jobsPerReplica")),
        new("an unknown way to combine", "{scaling: {combine: Mean}}",
            Invalid("\n* spec.scaling.combine: Unsupported value: \"Mean\": supported values: \"Sum\", \"Max\"\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("a URL as address", "{redis: {address: 'redis://redis:6379'}}",
            Invalid("spec.redis.address: Invalid value: \"redis://redis:6379\": address must be a host or host:port, as redis or redis.example.com:6380")),
        new("both an address and sentinels", "{redis: {address: redis, sentinel: {masterName: m, addresses: [s]}}}",
            Invalid("spec.redis.sentinel: Invalid value: address and sentinel exclude each other: the sentinels say where the master is")),
        new("both an address and a cluster", "{redis: {address: redis, cluster: {addresses: [c]}}, scaleTargetRef: {name: d}, \
            queues: [{name: mails, source: {waiting: [{key: k}]}}]}",
            Invalid("spec.redis.cluster: Invalid value: cluster excludes address and sentinel: its nodes say where each key is")),
        new("an own queue in a cluster", "{redis: {cluster: {addresses: [c]}}}",
            Invalid("spec.queues: Invalid value: a queue in a Redis Cluster needs a source, with db 0: one of workerpool's own is kept in two databases, and by scripts over keys of many slots")),
        new("another database than 0 of a cluster", "{redis: {cluster: {addresses: [c]}}, scaleTargetRef: {name: d}, \
            queues: [{name: mails, source: {db: 1, waiting: [{key: k}]}}]}",
            Invalid("spec.queues: Invalid value: a queue in a Redis Cluster needs a source, with db 0: one of workerpool's own is kept in two databases, and by scripts over keys of many slots")),
        new("sentinels without an address", "{redis: {sentinel: {masterName: m, addresses: []}}}",
            Invalid("spec.redis.sentinel.addresses: Invalid value: 0: spec.redis.sentinel.addresses in body should have at least 1 items")),
        new("sentinels of no master", "{redis: {sentinel: {addresses: [s]}}}",
            Invalid("\n* spec.redis.sentinel.masterName: Required value\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("a URL as a sentinel's address", "{redis: {sentinel: {masterName: m, addresses: ['redis://s:26379']}}}",
            Invalid("spec.redis.sentinel.addresses: Invalid value: each of addresses must be a host or host:port, as sentinel or sentinel.example.com:26379")),
        new("a master's name that no sentinel takes", "{redis: {sentinel: {masterName: 'my master', addresses: [s]}}}",
            Invalid("spec.redis.sentinel.masterName: Invalid value: \"my master\": masterName has only letters, digits, '.', '_' and '-'")),
        new("a negative database", "{redis: {queueDB: -1}}",
            Invalid("spec.redis.queueDB: Invalid value: -1: spec.redis.queueDB in body should be greater than or equal to 0")),
        new("a Secret without a name", "{redis: {credentialsSecretRef: {name: ''}}}",
            Invalid("spec.redis.credentialsSecretRef.name: Invalid value: \"\": spec.redis.credentialsSecretRef.name in body should be at least 1 chars long")),
        new("no slot", "{worker: {concurrency: 0}}",
            Invalid("spec.worker.concurrency: Invalid value: 0: spec.worker.concurrency in body should be greater than or equal to 1")),
        new("a lease shorter than its renewal", "{worker: {leaseSeconds: 1}}",
            Invalid("spec.worker.leaseSeconds: Invalid value: 1: spec.worker.leaseSeconds in body should be greater than or equal to 3")),
        new("no attempt", "{worker: {maxAttempts: 0}}",
            Invalid("spec.worker.maxAttempts: Invalid value: 0: spec.worker.maxAttempts in body should be greater than or equal to 1")),
        new("no lost worker allowed", "{worker: {maxLost: 0}}",
            Invalid("spec.worker.maxLost: Invalid value: 0: spec.worker.maxLost in body should be greater than or equal to 1")),
        new("a negative retention", "{worker: {retentionSeconds: -1}}",
            Invalid("spec.worker.retentionSeconds: Invalid value: -1: spec.worker.retentionSeconds in body should be greater than or equal to 0")),
        new("a negative retention of the dead", "{worker: {deadRetentionSeconds: -1}}",
            Invalid("spec.worker.deadRetentionSeconds: Invalid value: -1: spec.worker.deadRetentionSeconds in body should be greater than or equal to 0")),
        new("a backoff that begins over its cap", "{worker: {backoff: {baseSeconds: 400}}}",
            Invalid("spec.worker.backoff.baseSeconds: Invalid value: backoff.baseSeconds must not be greater than backoff.capSeconds (which is 300 unless given)")),
        new("a handler of nothing", "{worker: {handler: {}}}",
            Invalid("spec.worker.handler: Invalid value: handler must have exactly one of command and http")),
        new("two handlers", "{worker: {handler: {command: [a], http: {url: 'http://localhost'}}}}",
            Invalid("spec.worker.handler: Invalid value: handler must have exactly one of command and http")),
        new("a service without standard input", "{worker: {handler: {stdin: Empty, http: {url: 'http://localhost'}}}}",
            Invalid("spec.worker.handler.stdin: Invalid value: stdin goes with command: a service is sent its job in the body of a request")),
        new("another standard input", "{worker: {handler: {stdin: None, command: [a]}}}",
            Invalid("\n* spec.worker.handler.stdin: Unsupported value: \"None\": supported values: \"Job\", \"Empty\"\n\
                * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")),
        new("no port", "{worker: {telemetryPort: 0}}",
            Invalid("spec.worker.telemetryPort: Invalid value: 0: spec.worker.telemetryPort in body should be greater than or equal to 1")),
        new("a port that is none", "{worker: {telemetryPort: 65536}}",
            Invalid("spec.worker.telemetryPort: Invalid value: 65536: spec.worker.telemetryPort in body should be less than or equal to 65535")),
        new("a part of workerpool", "{template: {metadata: {labels: {app.kubernetes.io/part-of: workerpool}}}}",
            Invalid("spec.template.metadata.labels: Invalid value: the label app.kubernetes.io/part-of: workerpool is for the parts of workerpool itself, \
                whose Services select it: give it another value")),
        new("a key that is a path", "{redis: {credentialsSecretRef: {name: a, passwordKey: ../password}}}",
            Invalid("spec.redis.credentialsSecretRef.passwordKey: Invalid value: \"../password\": a key of a Secret has only letters, digits, '.', '_' and '-'")),
        new("a command without a program", "{worker: {handler: {command: ['', resize]}}}",
            Invalid("spec.worker.handler.command: Invalid value: command must begin with the name of a program")),
        new("a command of no words", "{worker: {handler: {command: []}}}",
            Invalid("spec.worker.handler.command: Invalid value: command must begin with the name of a program")),
        new("a service that is told of as a host", "{worker: {handler: {http: {url: 'localhost:8000'}}}}",
            Invalid("spec.worker.handler.http.url: Invalid value: \"localhost:8000\": url must be an http:// URL with a host, as http://localhost:8000/resize")),
        new("a service over TLS", "{worker: {handler: {http: {url: 'http://localhost', readyURL: 'https://localhost/'}}}}",
            Invalid("spec.worker.handler.http.readyURL: Invalid value: \"https://localhost/\": readyURL must be an http:// URL with a host, as http://localhost:8000/healthz")),
        new("a service that is ready at two addresses", "{worker: {handler: {http: {url: 'http://localhost', readyURL: 'http://localhost/a', readyUrl: 'http://localhost/b'}}}}",
            Invalid("spec.worker.handler.http.readyUrl: Invalid value: readyUrl is the former name of readyURL, and says otherwise: leave readyUrl out")),
        new("a result that Redis is not asked to keep", "{worker: {maxResultBytes: 1048577}}",
            Invalid("spec.worker.maxResultBytes: Invalid value: 1048577: spec.worker.maxResultBytes in body should be less than or equal to 1048576")),
        new("a command that may take an hour to stop", "{worker: {killGraceSeconds: 3600}}",
            Invalid("spec.worker.killGraceSeconds: Invalid value: 3600: spec.worker.killGraceSeconds in body should be less than or equal to 600")),
        new("a handler for somebody else's pods", "{worker: {handler: {command: [a]}}, scaleTargetRef: {name: other}}",
            Invalid("spec.worker.handler: Invalid value: worker.handler and scaleTargetRef exclude each other: nothing of a scale target is changed but its count")),
        new("two commands", "{worker: {handler: {command: [a]}}, template: {spec: {containers: [{name: other, command: [c]}, {name: worker, args: [b]}]}}}",
            Invalid("spec.template.spec.containers: Invalid value: the template's container worker must not have command or args beside worker.handler: the handler says what is run")),
        new("a service called worker", "{worker: {handler: {http: {url: 'http://localhost'}}}, template: {spec: {containers: [{name: worker, image: 'model:1'}]}}}",
            Invalid("spec.template.spec.containers: Invalid value: the template's container worker must not have an image beside worker.handler.http: it is the stock worker; give the service's container another name")),
        new("both a template and a target", "{template: {}, scaleTargetRef: {name: other}}",
            Invalid("spec: Invalid value: template and scaleTargetRef exclude each other: a pool makes its own pods or scales what exists")),
        new("restoring the count of one's own pods", "{deletionPolicy: Restore}",
            Invalid("spec.deletionPolicy: Invalid value: deletionPolicy Restore needs a scaleTargetRef: the pods of a template go with their pool")),
        new("a container twice", "{template: {spec: {containers: [{name: worker}, {name: worker}]}}}",
            Invalid("spec.template.spec.containers[1]: Duplicate value: {\"name\":\"worker\"}")),
        new("a typo", "{replica: 2}", Undecodable("unknown field \"spec.replica\"")),
        new("a namespace of a template", "{template: {metadata: {namespace: other}}}",
            Undecodable("unknown field \"spec.template.metadata.namespace\"")),
        new("a typo deep in the template", "{template: {spec: {containers: [{name: worker, imagee: mine}]}}}",
            Undecodable("unknown field \"spec.template.spec.containers[0].imagee\"")),

        // Changes.
        change("another address and bounds", "{}", "{redis: {address: elsewhere}, scaling: {maxReplicas: 3}}", Accepted),
        change("sentinels in the place of an address", "{redis: {address: one}}", "{redis: {sentinel: {masterName: m, addresses: [s]}}}", Accepted),
        change("another order of queues", "{queues: [{name: a}, {name: b}], scaleTargetRef: {name: t}}",
            "{queues: [{name: b}, {name: a}], scaleTargetRef: {name: t}}", Accepted),
        change("another key and weight of a source", "{queues: [{name: a, source: {waiting: [{key: rq:queue:a}]}}], scaleTargetRef: {name: t}}",
            "{queues: [{name: a, weight: 3, source: {db: 1, waiting: [{type: Stream, key: a, consumerGroup: g}]}}], scaleTargetRef: {name: t}}", Accepted),
        change("a source given to a queue", "{queues: [{name: a}], scaleTargetRef: {name: t}}",
            "{queues: [{name: a, source: {waiting: [{key: k}]}}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues: Invalid value: a source can neither be given to a queue nor taken away: make a new pool")),
        change("a source taken away", "{queues: [{name: a, source: {waiting: [{key: k}]}}], scaleTargetRef: {name: t}}",
            "{queues: [{name: a}], scaleTargetRef: {name: t}}",
            Invalid("spec.queues: Invalid value: a source can neither be given to a queue nor taken away: make a new pool")),
        change("a template added", "{}", "{template: {metadata: {labels: {a: b}}}}", Accepted),
        change("another queue", "{}", "{queues: [{name: other}]}",
            Invalid("spec.queues: Invalid value: the names of the queues are immutable: make a new pool")),
        change("another queue database", "{}", "{redis: {queueDB: 4}}",
            Invalid("spec.redis.queueDB: Invalid value: 4: queueDB is immutable: make a new pool")),
        change("another jobs database", "{}", "{redis: {jobsDB: 4}}",
            Invalid("spec.redis.jobsDB: Invalid value: 4: jobsDB is immutable: make a new pool")),
        change("another target", "{scaleTargetRef: {name: one}}", "{scaleTargetRef: {name: two}}",
            Invalid("spec.scaleTargetRef: Invalid value: scaleTargetRef cannot be changed, added or removed: make a new pool")),
        change("the target that it has, said aloud", "{scaleTargetRef: {name: one}}", "{scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: one}}", Accepted),
        change("the target that it has, by its name alone", "{scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: one}}", "{scaleTargetRef: {name: one}}", Accepted),
        change("a target of another kind", "{scaleTargetRef: {name: one}}", "{scaleTargetRef: {kind: StatefulSet, name: one}}",
            Invalid("spec.scaleTargetRef: Invalid value: scaleTargetRef cannot be changed, added or removed: make a new pool")),
        change("no target any more", "{scaleTargetRef: {name: one}}", "{}",
            Invalid("spec.scaleTargetRef: Invalid value: scaleTargetRef cannot be changed, added or removed: make a new pool")),
        change("a target from now on", "{}", "{scaleTargetRef: {name: one}}",
            Invalid("spec.scaleTargetRef: Invalid value: scaleTargetRef cannot be changed, added or removed: make a new pool")),
    ]
}

//! Kinds that are not watched: where they are at the API server, and whether they have a `/scale`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crds::target::ScaleTargetRef;
use kube::{
    Client,
    api::{ApiResource, GroupVersionKind},
    core::GroupVersion,
    discovery::{self, ApiCapabilities, Scope},
    error::DiscoveryError,
};

use super::key::group_of;
use crate::{
    error::{self, Error},
    refusal::Refusal,
};

/// A kind that was found is asked for again after so long: it may have moved to another version.
const FOUND_USABLE: Duration = Duration::from_secs(600);
/// One that was not may come soon.
const MISSING_USABLE: Duration = Duration::from_secs(10);

/// A kind, or why it cannot be scaled.
type Answer = Result<Arc<ApiResource>, Refusal>;

/// The kinds that pools name, as they were last found.
#[derive(Debug, Default)]
pub struct Kinds(Mutex<HashMap<(String, String), (Answer, Instant)>>);

impl Kinds {
    /// Where the kind of a target is. Of the version that was named, or else of another one of its group.
    ///
    /// # Errors
    /// What the API server answers; the inner one if it has no such kind to scale.
    pub async fn find(&self, client: &Client, target: &ScaleTargetRef) -> Result<Answer, Error> {
        let key = (target.api_version.clone(), target.kind.clone());
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        let found = error::call("find the kind of the target", look(client, target)).await?;
        let answer = judge(target, found);
        let now = Instant::now();
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.retain(|_, (answer, at)| is_usable(answer, *at, now));
        kinds.insert(key, (answer.clone(), now));
        Ok(answer)
    }

    fn known(&self, key: &(String, String)) -> Option<Answer> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, at) = kinds.get(key)?;
        is_usable(answer, *at, Instant::now()).then(|| answer.clone())
    }
}

fn is_usable(answer: &Answer, at: Instant, now: Instant) -> bool {
    let usable = if answer.is_ok() {
        FOUND_USABLE
    } else {
        MISSING_USABLE
    };
    now < at + usable
}

type Found = Option<(ApiResource, ApiCapabilities)>;

async fn look(client: &Client, target: &ScaleTargetRef) -> kube::Result<Found> {
    if let Ok(version) = target.api_version.parse::<GroupVersion>() {
        let kind = GroupVersionKind::gvk(&version.group, &version.version, &target.kind);
        if let Some(found) = unless_missing(discovery::pinned_kind(client, &kind).await)? {
            return Ok(Some(found));
        }
    }
    let group = unless_missing(discovery::group(client, group_of(&target.api_version)).await)?;
    Ok(group.and_then(|group| group.recommended_kind(&target.kind)))
}

fn unless_missing<T>(answer: kube::Result<T>) -> kube::Result<Option<T>> {
    use DiscoveryError::{EmptyApiGroup, MissingApiGroup, MissingKind};
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Discovery(MissingKind(_) | MissingApiGroup(_) | EmptyApiGroup(_))) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn judge(target: &ScaleTargetRef, found: Found) -> Answer {
    let name = || format!("{}/{}", target.api_version, target.kind);
    let Some((resource, able)) = found else {
        return Err(Refusal::TargetKindMissing(name()));
    };
    let has_scale = able.subresources.iter().any(|(sub, _)| sub.plural == "scale");
    if !has_scale || able.scope != Scope::Namespaced {
        return Err(Refusal::TargetNotScalable(name()));
    }
    Ok(Arc::new(resource))
}

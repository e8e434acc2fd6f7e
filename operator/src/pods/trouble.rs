//! The reasons for which pods are not ready.

/// Reasons for which a pod is not ready, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// A ResourceQuota allows no more pods.
    QuotaExceeded,
    /// Pod Security admission refuses the pods.
    PodSecurityViolation,
    /// The API server refuses the pods for another reason: no such ServiceAccount, a webhook, a LimitRange.
    PodsForbidden,
    /// An image cannot be pulled.
    ImagePullFailed,
    /// A Secret or ConfigMap of the environment is missing.
    ConfigMissing,
    /// The program of a container cannot be started.
    ContainerCannotStart,
    /// A container used more memory than its limit.
    OOMKilled,
    /// A container ends again and again.
    CrashLooping,
    /// An init container fails.
    InitContainerFailing,
    /// A volume is missing, or not attached.
    VolumeNotMounted,
    /// No node has room for the pod, or none that it may use.
    Unschedulable,
    /// The containers run, but a probe does not pass.
    NotReady,
    /// Nothing is wrong yet.
    Starting,
}

impl Trouble {
    /// All of them, the most severe first.
    pub const ALL: [Self; 13] = [
        Self::QuotaExceeded,
        Self::PodSecurityViolation,
        Self::PodsForbidden,
        Self::ImagePullFailed,
        Self::ConfigMissing,
        Self::ContainerCannotStart,
        Self::OOMKilled,
        Self::CrashLooping,
        Self::InitContainerFailing,
        Self::VolumeNotMounted,
        Self::Unschedulable,
        Self::NotReady,
        Self::Starting,
    ];

    /// The reason in conditions and metrics; never changing.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QuotaExceeded => "QuotaExceeded",
            Self::PodSecurityViolation => "PodSecurityViolation",
            Self::PodsForbidden => "PodsForbidden",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ConfigMissing => "ConfigMissing",
            Self::ContainerCannotStart => "ContainerCannotStart",
            Self::OOMKilled => "OOMKilled",
            Self::CrashLooping => "CrashLooping",
            Self::InitContainerFailing => "InitContainerFailing",
            Self::VolumeNotMounted => "VolumeNotMounted",
            Self::Unschedulable => "Unschedulable",
            Self::NotReady => "NotReady",
            Self::Starting => "Starting",
        }
    }

    /// Whether other pods of the same template most probably have it too: a wrong image, program or reference in the template.
    #[must_use]
    pub const fn is_of_template(self) -> bool {
        matches!(
            self,
            Self::ImagePullFailed
                | Self::ConfigMissing
                | Self::ContainerCannotStart
                | Self::CrashLooping
                | Self::InitContainerFailing
        )
    }

    /// The trouble that a condition of an earlier status names.
    #[must_use]
    pub fn of_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.as_str() == reason)
    }
}

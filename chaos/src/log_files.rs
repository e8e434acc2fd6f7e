//! Redis' log of changes, all of it: it keeps it in files of which it drops the old ones, and here each stays.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    aof::{Step, Steps},
    history::Unknown,
};

/// A place in the log: the number of a file, and the bytes of it before the place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: u64,
    pub(crate) bytes: u64,
}

/// All files of the log. Those of Redis, by a second name each: what Redis appends or cuts off is seen here too.
#[derive(Debug)]
pub(crate) struct LogFiles {
    of_redis: PathBuf,
    kept: PathBuf,
}

impl LogFiles {
    /// Of the Redis that keeps its data in `redis`. `kept` must be on the same file system.
    pub(crate) fn new(redis: &Path, kept: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&kept)?;
        let of_redis = redis.join("appendonlydir");
        Ok(Self { of_redis, kept })
    }

    /// Keeps what there is now; to be called often. Answers where the log ends.
    pub(crate) fn keep(&self) -> anyhow::Result<Place> {
        for (number, path) in numbered(&self.of_redis)? {
            let kept = self.kept.join(format!("{number}.incr.aof"));
            if !kept.exists() {
                fs::hard_link(&path, &kept).context("keep the log on the file system of Redis' data")?;
            }
        }
        let (file, path) = numbered(&self.kept)?.pop_last().context("Redis keeps no log")?;
        let bytes = fs::metadata(path)?.len();
        Ok(Place { file, bytes })
    }

    /// Gives each step from `place` on to `take`, with the place where it ends.
    pub(crate) fn replay(
        &self,
        from: Place,
        mut take: impl FnMut(&Step, Place) -> Result<(), Unknown>,
    ) -> anyhow::Result<()> {
        for (number, path) in numbered(&self.kept)?.range(from.file..) {
            let begin = if *number == from.file { from.bytes } else { 0 };
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(begin))?;
            let mut steps = Steps::new(BufReader::with_capacity(1 << 20, file), begin);
            while let Some(step) = steps.step().with_context(|| path.display().to_string())? {
                take(
                    &step,
                    Place {
                        file: *number,
                        bytes: step.end,
                    },
                )?;
            }
        }
        Ok(())
    }

    /// The file of this number, to be written to.
    pub(crate) fn open(&self, number: u64) -> anyhow::Result<File> {
        let path = self.kept.join(format!("{number}.incr.aof"));
        File::options()
            .append(true)
            .open(&path)
            .with_context(|| path.display().to_string())
    }
}

/// The files of changes in `folder`, by their numbers: `appendonly.aof.12.incr.aof`.
fn numbered(folder: &Path) -> anyhow::Result<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let number = name
            .strip_suffix(".incr.aof")
            .and_then(|name| name.rsplit('.').next()?.parse().ok());
        if let Some(number) = number {
            files.insert(number, path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aof::tests::written;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("workerpool-chaos-test-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("redis/appendonlydir")).unwrap();
            Self(path)
        }

        fn log(&self, number: u64) -> PathBuf {
            self.0
                .join(format!("redis/appendonlydir/appendonly.aof.{number}.incr.aof"))
        }

        fn files(&self) -> LogFiles {
            LogFiles::new(&self.0.join("redis"), self.0.join("kept")).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn replayed(files: &LogFiles, from: Place) -> Vec<(Vec<u8>, Place)> {
        let mut steps = Vec::new();
        let take = |step: &Step, place| {
            steps.push((step.commands[0][0].clone(), place));
            Ok(())
        };
        files.replay(from, take).unwrap();
        steps
    }

    #[test]
    fn log_that_redis_dropped_is_still_replayed_and_in_order() {
        let folder = Folder::new("dropped");
        let files = folder.files();
        for (number, command) in [(9, "A"), (10, "B")] {
            fs::write(folder.log(number), written(&[&[command]])).unwrap();
            files.keep().unwrap();
        }
        fs::remove_file(folder.log(9)).unwrap();
        let steps = replayed(&files, Place::default());
        let names: Vec<_> = steps.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [b"A", b"B"]);
        assert_eq!(
            replayed(&files, steps[0].1).len(),
            1,
            "only what comes after a place"
        );
    }

    #[test]
    fn what_is_cut_off_is_gone_here_too() {
        let folder = Folder::new("cut");
        let files = folder.files();
        let log = [written(&[&["A"]]), written(&[&["B"]])].concat();
        fs::write(folder.log(1), &log).unwrap();
        let end = files.keep().unwrap();
        assert_eq!(end.bytes, log.len() as u64);
        files.open(1).unwrap().set_len(end.bytes - 1).unwrap();
        assert_eq!(replayed(&files, Place::default()).len(), 1);
    }
}

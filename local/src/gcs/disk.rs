//! Objects on disk, each change atomic and flushed. The sidecar with the metadata is the truth: data without one was
//! never committed, and goes at the next start.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use chrono::Utc;
use sha2::{Digest, Sha256};

use super::object::{ApiError, Conditions, Object};

/// All buckets.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    generation: i64,
}

/// What a new object is to be.
#[derive(Clone, Debug, Default)]
pub(super) struct NewObject {
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) crc32c: Option<u32>,
}

impl Disk {
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root.join(".meta"))?;
        fs::create_dir_all(root.join(".tmp"))?;
        let mut disk = Self { root: root.to_owned(), buckets: BTreeMap::new(), generation: 0 };
        for entry in fs::read_dir(root)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && entry.path().is_dir() {
                disk.load(name)?;
            }
        }
        Ok(disk)
    }

    fn load(&mut self, bucket: String) -> anyhow::Result<()> {
        let mut objects = BTreeMap::new();
        for entry in fs::read_dir(self.root.join(".meta").join(&bucket)).into_iter().flatten().flatten() {
            let object: Object = serde_json::from_slice(&fs::read(entry.path())?)?;
            self.generation = self.generation.max(object.generation);
            objects.insert(object.name.clone(), object);
        }
        let half_moved: Vec<_> = objects.values().filter_map(|object| object.moved_from.clone()).collect();
        for (source, generation) in half_moved {
            if objects.get(&source).is_some_and(|object| object.generation == generation) {
                self.erase(&bucket, &source)?;
                objects.remove(&source);
            }
        }
        self.sweep(&bucket, &objects, &self.root.join(&bucket))?;
        self.buckets.insert(bucket, objects);
        Ok(())
    }

    /// Removes data that was never committed.
    fn sweep(&self, bucket: &str, objects: &BTreeMap<String, Object>, folder: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.sweep(bucket, objects, &path)?;
            } else if let Ok(name) = path.strip_prefix(self.root.join(bucket))
                && !objects.contains_key(&*name.to_string_lossy())
            {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = &String> {
        self.buckets.keys()
    }

    pub(super) fn make_bucket(&mut self, name: &str) -> Result<(), ApiError> {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_name || name.starts_with('.') {
            return Err(ApiError::invalid(format!("Invalid bucket name: '{name}'")));
        }
        if self.buckets.contains_key(name) {
            let message = "Your previous request to create the named bucket succeeded and you already own it.";
            return Err(ApiError::conflict(message));
        }
        fs::create_dir_all(self.root.join(name))?;
        fs::create_dir_all(self.root.join(".meta").join(name))?;
        self.buckets.insert(name.to_owned(), BTreeMap::new());
        Ok(())
    }

    pub(super) fn objects(&self, bucket: &str) -> Result<&BTreeMap<String, Object>, ApiError> {
        self.buckets.get(bucket).ok_or_else(|| ApiError::not_found("The specified bucket does not exist."))
    }

    pub(super) fn get(&self, bucket: &str, name: &str) -> Result<&Object, ApiError> {
        self.objects(bucket)?.get(name).ok_or_else(|| ApiError::no_object(bucket, name))
    }

    pub(super) fn read(&self, object: &Object) -> Result<Bytes, ApiError> {
        Ok(fs::read(self.data_path(&object.bucket, &object.name)?)?.into())
    }

    /// Writes an object whole, if the conditions hold against what is there.
    pub(super) fn put(
        &mut self,
        bucket: &str,
        new: NewObject,
        data: &Bytes,
        conditions: Conditions,
    ) -> Result<Object, ApiError> {
        conditions.check(self.objects(bucket)?.get(&new.name))?;
        let crc32c = crc32c::crc32c(data);
        if new.crc32c.is_some_and(|told| told != crc32c) {
            return Err(ApiError::invalid("Provided CRC32C does not match the calculated one."));
        }
        let path = self.data_path(bucket, &new.name)?;
        let object = Object {
            bucket: bucket.to_owned(),
            name: new.name,
            generation: self.next_generation(),
            metageneration: 1,
            size: data.len() as u64,
            crc32c,
            content_type: new.content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            metadata: new.metadata,
            created: Utc::now(),
            moved_from: None,
        };
        self.write_atomically(&path, data)?;
        self.commit(object)
    }

    /// Renames an object in one step, if the conditions hold against both ends.
    pub(super) fn rename(
        &mut self,
        bucket: &str,
        (from, of_source): (&str, Conditions),
        (to, of_destination): (&str, Conditions),
    ) -> Result<Object, ApiError> {
        let source = self.get(bucket, from)?.clone();
        of_source.check(Some(&source))?;
        of_destination.check(self.objects(bucket)?.get(to))?;
        let (old, new) = (self.data_path(bucket, from)?, self.data_path(bucket, to)?);
        make_parent(&new)?;
        fs::remove_file(&new).ok();
        fs::hard_link(&old, &new)?;
        let moved_from = Some((from.to_owned(), source.generation));
        let generation = self.next_generation();
        let moved = self.commit(Object { name: to.to_owned(), generation, moved_from, ..source })?;
        self.erase(bucket, from)?;
        self.buckets.get_mut(bucket).map(|objects| objects.remove(from));
        Ok(moved)
    }

    pub(super) fn delete(&mut self, bucket: &str, name: &str, conditions: Conditions) -> Result<(), ApiError> {
        conditions.check(Some(self.get(bucket, name)?))?;
        self.erase(bucket, name)?;
        self.buckets.get_mut(bucket).map(|objects| objects.remove(name));
        Ok(())
    }

    /// The commit of an object: its sidecar appears.
    fn commit(&mut self, object: Object) -> Result<Object, ApiError> {
        let sidecar = self.sidecar_path(&object.bucket, &object.name);
        self.write_atomically(&sidecar, &serde_json::to_vec(&object).map_err(std::io::Error::from)?)?;
        if let Some(objects) = self.buckets.get_mut(&object.bucket) {
            objects.insert(object.name.clone(), object.clone());
        }
        Ok(object)
    }

    fn erase(&self, bucket: &str, name: &str) -> std::io::Result<()> {
        fs::remove_file(self.sidecar_path(bucket, name))?;
        let path = self.root.join(bucket).join(name);
        fs::remove_file(path).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
    }

    /// Microseconds of the clock, or the next number if it stands still.
    fn next_generation(&mut self) -> i64 {
        self.generation = Utc::now().timestamp_micros().max(self.generation + 1);
        self.generation
    }

    fn write_atomically(&self, path: &Path, data: &[u8]) -> std::io::Result<()> {
        make_parent(path)?;
        let temporary = self.root.join(".tmp").join(hash(&path.to_string_lossy()));
        let mut file = File::create(&temporary)?;
        file.write_all(data)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    }

    fn data_path(&self, bucket: &str, name: &str) -> Result<PathBuf, ApiError> {
        // Nothing outside of the bucket's folder: no `..`, no absolute name.
        let is_plain =
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || name.ends_with('/') {
            return Err(ApiError::invalid(format!("Invalid object name: '{name}'")));
        }
        Ok(self.root.join(bucket).join(name))
    }

    fn sidecar_path(&self, bucket: &str, name: &str) -> PathBuf {
        self.root.join(".meta").join(bucket).join(format!("{}.json", hash(name)))
    }
}

fn make_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn hash(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

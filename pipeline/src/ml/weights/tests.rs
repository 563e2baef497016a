use safetensors::tensor::TensorView;

use super::*;

/// A file of tensors of zeros, two bytes a number.
fn file(folder: &Path, tensors: &[(&str, &[usize])]) -> PathBuf {
    let path = folder.join("model.safetensors");
    let bytes = vec![0; 1 << 12];
    let views = tensors.iter().map(|(name, shape)| {
        let length = shape.iter().product::<usize>() * 2;
        (*name, TensorView::new(Dtype::F16, shape.to_vec(), &bytes[..length]).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

fn open(path: &Path) -> Result<Weights, Error> {
    Weights::open(path, Reading::on(Device::Cpu, Kind::Float))
}

#[test]
fn what_fits_is_read_in_the_wanted_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut weights = open(&file(folder.path(), &[("a", &[2, 3]), ("b", &[4])])).unwrap();
    let a = weights.take("a", &[2, 3]).unwrap();
    assert_eq!((a.size(), a.kind()), (vec![2, 3], Kind::Float));
    let _ = weights.take("b", &[4]).unwrap();
    weights.finish().unwrap();
}

#[test]
fn everything_that_does_not_fit_is_named_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let mut weights = open(&file(folder.path(), &[("a", &[2, 3]), ("spare", &[4]), ("z", &[1])])).unwrap();
    let _ = weights.take("a", &[3, 2]).unwrap();
    let _ = weights.take("absent", &[4]).unwrap();
    let _ = weights.take("gone", &[4]).unwrap();
    let said = weights.finish().unwrap_err().to_string();
    let wanted = "does not fit its config.json: it lacks absent, gone; of another shape are a ([2, 3] instead of [3, 2]); \
                  no use is known for spare, z";
    assert!(said.ends_with(wanted), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn a_file_that_was_cut_short_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[("a", &[20, 30])]);
    let whole = std::fs::read(&path).unwrap();
    for kept in [0, 5, 20, whole.len() - 1] {
        std::fs::write(&path, &whole[..kept]).unwrap();
        let said = open(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("model.safetensors"), "{kept} bytes: {said:?}");
    }
    std::fs::write(&path, [whole.as_slice(), b"more"].concat()).unwrap();
    assert!(open(&path).is_err(), "bytes that nobody speaks of");
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
    let said = open(&path).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("no safetensors file"), "{said}");
    assert!(open(&folder.path().join("nothing")).is_err());
}

//! A model that is loaded, and as a [`Model`] of a thread.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::config::{Config, Preparation};
use super::network::Network;
use super::{Label, Picture, prepare};
use crate::ml::Error;
use crate::ml::thread::Model;
use crate::ml::weights::{Reading, Weights};

/// A model on one device, for one thread.
#[derive(Debug)]
pub struct MobileNet {
    /// Sizes.
    pub config: Config,
    /// What is done to pictures first.
    pub preparation: Preparation,
    /// The network.
    pub network: Network,
    labels: Vec<String>,
    device: Device,
    kind: Kind,
}

impl MobileNet {
    /// Loads the model in `folder`: on a graphics card in half precision when there is one, else on the processor.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        Self::read(folder, Reading::best())
    }

    /// Whether everything in `folder` is there and fits together, without reading the weights.
    pub fn check(folder: &Path) -> Result<(), Error> {
        Self::read(folder, Reading::glance()).map(drop)
    }

    /// Loads the model in `folder` on `device`, its parameters being `kind`.
    pub fn load_on(folder: &Path, device: Device, kind: Kind) -> Result<Self, Error> {
        Self::read(folder, Reading::on(device, kind))
    }

    fn read(folder: &Path, reading: Reading) -> Result<Self, Error> {
        let _no_grad = tch::no_grad_guard();
        let config = Config::read(folder)?;
        let preparation = Preparation::read(folder)?;
        let labels = config.labels().map_err(Error::Unfit)?;
        let mut weights = Weights::open(&folder.join("model.safetensors"), reading)?;
        let network = Network::take(&mut weights, &config)?;
        weights.finish()?;
        let Reading { device, kind, .. } = reading;
        Ok(Self { config, preparation, network, labels, device, kind })
    }

    /// The likeliest labels of each picture, most likely first.
    pub fn look(&self, pictures: &[&Picture]) -> Vec<Result<Vec<Label>, Error>> {
        let _no_grad = tch::no_grad_guard();
        let prepared: Vec<Result<Tensor, Error>> = pictures.iter().map(|picture| self.numbers(picture)).collect();
        let good: Vec<&Tensor> = prepared.iter().flatten().collect();
        let seen = if good.is_empty() { Ok(Vec::new()) } else { self.confidences(&good) };
        let mut seen = seen.map(Vec::into_iter);
        let answer = |(numbers, picture): (Result<Tensor, Error>, &&Picture)| match (numbers, &mut seen) {
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(error.clone()),
            (Ok(_), Ok(rows)) => Ok(self.likeliest(&rows.next().unwrap_or_default(), picture.most)),
        };
        prepared.into_iter().zip(pictures).map(answer).collect()
    }

    /// `[3, 224, 224]` of a picture.
    fn numbers(&self, picture: &Picture) -> Result<Tensor, Error> {
        let numbers = prepare::normal(picture, &self.preparation)?;
        let (width, height) = self.preparation.crop();
        let shape = [3, height, width].map(|size| i64::try_from(size).unwrap_or_default());
        Ok(Tensor::f_from_slice(&numbers)?.f_view(shape)?)
    }

    /// The share of each label, a row for each of the pictures `[3, 224, 224]`.
    fn confidences(&self, pictures: &[&Tensor]) -> Result<Vec<Vec<f32>>, Error> {
        let batch = Tensor::f_stack(pictures, 0)?.f_to(self.device)?.f_to_kind(self.kind)?;
        let shares = self.network.apply(&batch)?.f_softmax(-1, Kind::Float)?.f_to(Device::Cpu)?;
        Ok(Vec::<Vec<f32>>::try_from(&shares)?)
    }

    fn likeliest(&self, shares: &[f32], most: usize) -> Vec<Label> {
        let mut places: Vec<usize> = (0..shares.len().min(self.labels.len())).collect();
        places.sort_by(|one, other| shares[*other].total_cmp(&shares[*one]));
        let label = |index: usize| Label { name: self.labels[index].clone(), index, confidence: shares[index] };
        places.into_iter().take(most).map(label).collect()
    }
}

impl Model for MobileNet {
    type Request = Picture;
    type Answer = Vec<Label>;

    fn answer(&mut self, pictures: Vec<Picture>) -> Vec<Result<Vec<Label>, Error>> {
        self.look(&pictures.iter().collect::<Vec<_>>())
    }
}

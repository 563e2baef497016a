//! What every catalog must do, written against the trait alone.

use std::sync::Arc;

use connectors::Catalog;
use connectors::catalog::Swap;
use schemas::JobId;
use schemas::job::JobRow;

pub fn job(number: u64) -> JobId {
    use rand::Rng as _;
    JobId::from_parts(1_700_000_000_000 + number, rand::rng().random())
}

pub async fn a_row_is_written_only_over_the_epoch_that_was_read(catalog: Arc<dyn Catalog>) {
    let id = job(1);
    assert_eq!(catalog.job(id).await.unwrap(), None);
    let row = JobRow::new(id);
    assert_eq!(catalog.swap_job(&row, Some(1)).await.unwrap(), Swap::Lost(None));
    assert_eq!(catalog.swap_job(&row, None).await.unwrap(), Swap::Won);
    let stored = catalog.job(id).await.unwrap().unwrap();
    assert_eq!(stored.row, row);
    assert_eq!(catalog.swap_job(&row, None).await.unwrap(), Swap::Lost(Some(Box::new(stored.clone()))));
    assert_eq!(catalog.swap_job(&row, Some(stored.epoch)).await.unwrap(), Swap::Won);
    assert_eq!(catalog.job(id).await.unwrap().unwrap().epoch, stored.epoch + 1);
}

//! The runner against a scripted log, in simulated time.

mod again;
mod background;
mod bench;
mod called_off;
mod catalog_away;
mod delivery;
mod doors;
mod failures;
mod scripted;
mod switch;
mod twins;

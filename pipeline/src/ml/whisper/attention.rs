//! Multi-head attention, and the memory of what was read.
//!
//! Vaswani et al. 2017, sections 3.2.1 to 3.2.3. `n` rows, `t` positions, width `d`, `h` heads of `d / h` each.

use tch::Tensor;

use crate::ml::Error;
use crate::ml::layers::Linear;
use crate::ml::weights::Parameters;

/// One attention; queries from one sequence, keys and values from the same or another one.
#[derive(Debug)]
pub struct Attention {
    heads: i64,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
}

/// Keys and values by head, both `[n, h, t, d / h]`.
#[derive(Debug)]
pub struct Seen {
    keys: Tensor,
    values: Tensor,
}

impl Attention {
    /// Takes `<name>.q_proj`, `k_proj`, `v_proj` and `out_proj`; keys have no bias.
    pub fn take(from: &mut impl Parameters, name: &str, width: i64, heads: i64) -> Result<Self, Error> {
        Ok(Self {
            heads,
            key: Linear::take_plain(from, &format!("{name}.k_proj"), width, width)?,
            value: Linear::take(from, &format!("{name}.v_proj"), width, width)?,
            query: Linear::take(from, &format!("{name}.q_proj"), width, width)?,
            out: Linear::take(from, &format!("{name}.out_proj"), width, width)?,
        })
    }

    /// Keys and values of `x`, `[n, t, d]`.
    pub fn see(&self, x: &Tensor) -> Result<Seen, Error> {
        Ok(Seen { keys: self.by_head(&self.key.apply(x)?)?, values: self.by_head(&self.value.apply(x)?)? })
    }

    /// What the positions of `x`, `[n, t, d]`, gather from `seen`; the same shape. With `is_causal` a position sees itself and
    /// those before.
    ///
    /// `seen` may have fewer rows: several rows of `x` that follow each other then share one.
    pub fn attend(&self, x: &Tensor, seen: &Seen, is_causal: bool) -> Result<Tensor, Error> {
        let (rows, positions, width) = x.size3()?;
        let shared = seen.keys.size()[0].max(1);
        // Rows that share keys stand beside each other like positions of one row.
        let query = self.query.apply(x)?.f_view([shared, rows / shared * positions, width])?;
        let query = self.by_head(&query)?;
        let no_mask = None::<&Tensor>;
        let gathered = Tensor::f_scaled_dot_product_attention(
            &query,
            &seen.keys,
            &seen.values,
            no_mask,
            0.0,
            is_causal,
            None::<f64>,
            false,
        )?;
        let gathered = gathered.f_transpose(1, 2)?.f_reshape([rows, positions, width])?;
        self.out.apply(&gathered)
    }

    /// `[n, t, d]` to `[n, h, t, d / h]`.
    fn by_head(&self, x: &Tensor) -> Result<Tensor, Error> {
        let (rows, positions, width) = x.size3()?;
        Ok(x.f_view([rows, positions, self.heads, width / self.heads])?.f_transpose(1, 2)?)
    }
}

impl Seen {
    /// The same with each head's positions side by side, for what is read again and again.
    pub fn packed(self) -> Result<Self, Error> {
        Ok(Self { keys: self.keys.f_contiguous()?, values: self.values.f_contiguous()? })
    }

    /// The rows numbered `rows`, `[n]`.
    pub fn keep(&mut self, rows: &Tensor) -> Result<(), Error> {
        self.keys = self.keys.f_index_select(0, rows)?;
        self.values = self.values.f_index_select(0, rows)?;
        Ok(())
    }
}

/// Keys and values that grow: what a decoder has read so far.
#[derive(Debug, Default)]
pub struct Cache {
    /// With room for more positions than are used.
    seen: Option<Seen>,
    used: i64,
}

/// Positions by which a cache grows.
const ROOM: i64 = 64;

impl Cache {
    /// Appends positions and answers everything so far.
    pub fn grow(&mut self, new: Seen) -> Result<Seen, Error> {
        let (rows, heads, added, width) = new.keys.size4()?;
        let wanted = self.used + added;
        let room = self.seen.as_ref().map_or(0, |seen| seen.keys.size()[2]);
        if wanted > room {
            let room = (wanted + ROOM - 1) / ROOM * ROOM;
            let options = (new.keys.kind(), new.keys.device());
            let larger = || Tensor::f_empty([rows, heads, room, width], options);
            let larger = Seen { keys: larger()?, values: larger()? };
            if let Some(old) = self.seen.take() {
                larger.part(0, self.used)?.copy_from(&old.part(0, self.used)?)?;
            }
            self.seen = Some(larger);
        }
        let Some(seen) = &self.seen else { return Ok(new) };
        seen.part(self.used, added)?.copy_from(&new)?;
        self.used = wanted;
        seen.part(0, wanted)
    }

    /// Goes on with the rows numbered `rows`, `[n]`.
    pub fn keep(&mut self, rows: &Tensor) -> Result<(), Error> {
        match &mut self.seen {
            Some(seen) => seen.keep(rows),
            None => Ok(()),
        }
    }
}

impl Seen {
    /// A view of `count` positions from `from` on.
    fn part(&self, from: i64, count: i64) -> Result<Self, Error> {
        Ok(Self { keys: self.keys.f_narrow(2, from, count)?, values: self.values.f_narrow(2, from, count)? })
    }

    fn copy_from(mut self, other: &Self) -> Result<(), Error> {
        self.keys.f_copy_(&other.keys)?;
        self.values.f_copy_(&other.values)?;
        Ok(())
    }
}

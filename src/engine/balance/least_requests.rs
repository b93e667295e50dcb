//! Least requests: the endpoint with the fewest requests in flight for its weight.
//!
//! Each core counts its own requests. Where several endpoints are equally busy, as on a gateway that
//! is mostly idle, they are taken in turn by their weights.

use super::facts::Listed;

/// The smallest load of the usable endpoints, as a ratio of two whole numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Least {
    in_flight: u64,
    weight: u64,
}

impl Least {
    /// Whether the endpoint at `index` has this load.
    pub(super) fn has(
        self,
        endpoints: &[Listed],
        index: usize,
        in_flight: impl Fn(usize) -> u32,
    ) -> bool {
        endpoints.get(index).is_some_and(|it| {
            u64::from(in_flight(index)) * self.weight == self.in_flight * u64::from(it.weight)
        })
    }
}

/// The smallest load; `None` when no endpoint is usable.
pub(super) fn least(
    endpoints: &[Listed],
    usable: impl Fn(usize) -> bool,
    in_flight: impl Fn(usize) -> u32,
) -> Option<Least> {
    let loads = endpoints.iter().enumerate().filter(|(index, _)| usable(*index));
    let loads = loads
        .map(|(index, it)| Least { in_flight: in_flight(index).into(), weight: it.weight.into() });
    loads.reduce(|one, other| {
        let less = other.in_flight * one.weight < one.in_flight * other.weight;
        if less { other } else { one }
    })
}

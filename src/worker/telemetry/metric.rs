//! A metric is one row: name, help, labels, and the field that holds its number.
//!
//! [`metrics!`] makes from rows the struct that travels to the control thread, the sum over cores,
//! and a table of [`Row`]s. The exposition, `ringway status` and `docs/metrics.md` are made from
//! that table, so a row is all that a new metric needs, beside the line that counts.

use std::cell::Cell;

/// The objects that a metric is about. It has a series for each of these, with the labels of [`Scope::labels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The node: the numbers of its cores are added up.
    Node,
    /// Each core.
    Core,
    /// Each listener.
    Listener,
    /// Each upstream.
    Upstream,
    /// Each endpoint of each upstream.
    Endpoint,
    /// Each route.
    Route,
}

impl Scope {
    /// The names of the labels that name one of these.
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Node => &[],
            Self::Core => &["core"],
            Self::Listener => &["listener"],
            Self::Upstream => &["upstream"],
            Self::Endpoint => &["upstream", "endpoint"],
            Self::Route => &["route"],
        }
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulated counts by upper bound, with `_sum` and `_count`.
    Histogram,
}

/// How a metric is shown, without its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its full name. A name that ends in `_total` is a counter's. A number whose name contains
    /// `_seconds` is kept in microseconds.
    pub name: &'static str,
    /// The objects that it has series for.
    pub scope: Scope,
    /// The names of its labels behind those of its scope.
    pub labels: &'static [&'static str],
    /// Its meaning, in a sentence without a full stop.
    pub help: &'static str,
    /// For metrics that stay 0 while all is well: the name of the trouble in `ringway status`.
    pub trouble: Option<&'static str>,
}

impl Metric {
    /// Its type, by its name. Histograms are known to those who render them.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.name.ends_with("_total") { Kind::Counter } else { Kind::Gauge }
    }

    /// Whether its numbers are microseconds, to be shown as seconds.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.name.contains("_seconds")
    }
}

/// A metric and where its numbers are in a `C`.
#[derive(Debug)]
pub struct Row<C: 'static> {
    /// How it is shown.
    pub metric: Metric,
    /// Its numbers; one, or one for each combination of its labels.
    pub series: &'static [Series<C>],
}

/// One number of a metric.
#[derive(Debug)]
pub struct Series<C> {
    /// The values of [`Metric::labels`], in their order.
    pub labels: &'static [&'static str],
    /// Reads it.
    pub value: fn(&C) -> u64,
}

/// A count that one core keeps.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }

    /// Takes the count out: it begins at 0 again.
    pub fn take(&self) -> u64 {
        self.0.take()
    }

    /// The count so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.get()
    }
}

/// Makes a struct of numbers and its rows, from rows of this form:
///
/// ```text
/// "ringway_name_total" by Scope "help" trouble "word in status" {
///     field [label = "value"],
///     other_field [label = "other value"],
/// }
/// ```
///
/// `by Scope` is absent for metrics of the node, `trouble` where there is no trouble, and labels
/// where there is one field. With `cells`, there is a struct of [`Counter`]s too,
/// in which a core counts.
macro_rules! metrics {
    (
        $(#[$cells_doc:meta])* pub cells $cells:ident;
        $(#[$doc:meta])* pub numbers $numbers:ident;
        pub rows $rows:ident;
        $(
            $name:literal $(by $scope:ident)? $help:literal $(trouble $trouble:literal)? {
                $($field:ident $([$($label:ident = $value:literal),+])?),+ $(,)?
            }
        )+
    ) => {
        $crate::telemetry::metric::metrics! {
            $(#[$doc])* pub numbers $numbers;
            pub rows $rows;
            $(
                $name $(by $scope)? $help $(trouble $trouble)? {
                    $($field $([$($label = $value),+])?),+
                }
            )+
        }

        $(#[$cells_doc])*
        #[derive(Debug, Default)]
        pub struct $cells {
            $($(
                #[doc = $help]
                $(#[doc = concat!($("`", stringify!($label), "=", $value, "`"),+)])?
                pub $field: $crate::telemetry::metric::Counter,
            )+)+
        }

        impl $cells {
            /// The numbers as they stand.
            #[must_use]
            pub fn totals(&self) -> $numbers {
                $numbers { $($($field: self.$field.total(),)+)+ }
            }

            /// Takes the numbers out: they begin at 0 again.
            pub fn take(&self) -> $numbers {
                $numbers { $($($field: self.$field.take(),)+)+ }
            }
        }
    };
    (
        $(#[$doc:meta])* pub numbers $numbers:ident;
        pub rows $rows:ident;
        $(
            $name:literal $(by $scope:ident)? $help:literal $(trouble $trouble:literal)? {
                $($field:ident $([$($label:ident = $value:literal),+])?),+ $(,)?
            }
        )+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $numbers {
            $($(
                #[doc = $help]
                $(#[doc = concat!($("`", stringify!($label), "=", $value, "`"),+)])?
                pub $field: u64,
            )+)+
        }

        impl ::std::ops::AddAssign for $numbers {
            fn add_assign(&mut self, other: Self) {
                $($(self.$field += other.$field;)+)+
            }
        }

        #[doc = concat!("The metrics of [`", stringify!($numbers), "`].")]
        pub static $rows: &[$crate::telemetry::metric::Row<$numbers>] = &[
            $($crate::telemetry::metric::Row {
                metric: $crate::telemetry::metric::Metric {
                    name: $name,
                    scope: $crate::telemetry::metric::metrics!(@scope $($scope)?),
                    // All series of a metric have the same labels: the first one's are read.
                    labels: {
                        let labels: &[&[&str]] = &[$(&[$($(stringify!($label)),+)?]),+];
                        match labels {
                            [first, ..] => first,
                            [] => &[],
                        }
                    },
                    help: $help,
                    trouble: $crate::telemetry::metric::metrics!(@trouble $($trouble)?),
                },
                series: &[$($crate::telemetry::metric::Series {
                    labels: &[$($($value),+)?],
                    value: |numbers| numbers.$field,
                }),+],
            },)+
        ];
    };
    (@scope) => { $crate::telemetry::metric::Scope::Node };
    (@scope $scope:ident) => { $crate::telemetry::metric::Scope::$scope };
    (@trouble) => { None };
    (@trouble $trouble:literal) => { Some($trouble) };
}

pub(crate) use metrics;

//! The differences that a change makes: numbers for the log, and the keys that need a restart.

use std::collections::HashMap;
use std::fmt;

use engine::config::{Document, Named};

use crate::options::Options;

/// How many objects of each kind a change adds, removes and alters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    listeners: Count,
    upstreams: Count,
    routes: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    added: usize,
    removed: usize,
    altered: usize,
}

impl Changes {
    /// Compares two configurations. Where an object stands does not matter.
    pub(crate) fn between(before: &Document, after: &Document) -> Self {
        Self {
            listeners: Count::between(&before.listeners, &after.listeners),
            upstreams: Count::between(&before.upstreams, &after.upstreams),
            routes: Count::between(&before.routes, &after.routes),
        }
    }
}

impl Count {
    fn between<T: PartialEq>(before: &Named<T>, after: &Named<T>) -> Self {
        let mut count = Self::default();
        // Mostly the texts have the same names at their beginning, and then a look aside will do.
        let pairs = before.objects.iter().zip(&after.objects);
        let same = pairs.take_while(|((one, _), (other, _))| ***one == ***other);
        let same =
            same.map(|((_, old), (_, new))| count.altered += usize::from(old != new)).count();
        let rest = before.objects.iter().skip(same);
        let mut rest: HashMap<&str, &T> = rest.map(|(name, it)| (&***name, it)).collect();
        for (name, it) in after.objects.iter().skip(same) {
            match rest.remove(&***name) {
                None => count.added += 1,
                Some(old) if old != it => count.altered += 1,
                Some(_) => {}
            }
        }
        count.removed = rest.len();
        count
    }
}

/// "routes +1 -0 ~2, upstreams +0 -1 ~0"; kinds in which nothing changes are left out.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("routes", self.routes), ("upstreams", self.upstreams), ("listeners", self.listeners)];
        let mut any = false;
        for (kind, Count { added, removed, altered }) in kinds {
            if added + removed + altered > 0 {
                let comma = if any { ", " } else { "" };
                write!(f, "{comma}{kind} +{added} -{removed} ~{altered}")?;
                any = true;
            }
        }
        if any { Ok(()) } else { f.write_str("the same routes, upstreams and listeners") }
    }
}

/// The keys that differ and that only a start can change. A key that the command line overrides
/// means nothing to this process, so it may change.
pub(crate) fn fixed_keys(
    before: &Document,
    after: &Document,
    options: &Options,
) -> Vec<&'static str> {
    let (old, new) = (&before.runtime, &after.runtime);
    let keys = [
        ("runtime.cores", options.cores.is_none() && old.cores != new.cores),
        ("runtime.cpus", options.cpus.is_none() && old.cpus != new.cpus),
        ("runtime.driver", options.driver.is_none() && old.driver != new.driver),
        ("runtime.log", options.log.is_none() && old.log != new.log),
        ("runtime.buffer_bytes_max", old.buffer_bytes_max != new.buffer_bytes_max),
        ("admin.address", before.admin.address != after.admin.address),
        ("admin.token", before.admin.token != after.admin.token),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use engine::config::{Cores, Sources, parse};

    use super::*;

    const TEXT: &str = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
        [upstreams.a]\nendpoints = [\"127.0.0.1:9000\"]\n\
        [upstreams.b]\nendpoints = [\"127.0.0.1:9001\"]\n\
        [routes.one]\nmatch = { path_prefix = \"/one\" }\nupstream = \"a\"\n\
        [routes.two]\nmatch = { path_prefix = \"/two\" }\nupstream = \"b\"\n";

    fn document(text: &str) -> Document {
        parse(&Sources::new("test.toml", text)).unwrap().document
    }

    fn changes(after: &str) -> String {
        Changes::between(&document(TEXT), &document(after)).to_string()
    }

    #[test]
    fn a_change_is_summed_up_by_kind() {
        let moved = TEXT.replace("\"/two\"", "\"/three\"").replace("9000", "9009");
        assert_eq!(changes(&moved), "routes +0 -0 ~1, upstreams +0 -0 ~1");
        let more =
            format!("{TEXT}[routes.four]\nmatch = {{ path_prefix = \"/4\" }}\nupstream = \"a\"\n");
        assert_eq!(changes(&more), "routes +1 -0 ~0");
        let renamed = TEXT.replace("listeners.web", "listeners.net");
        assert_eq!(changes(&renamed), "listeners +1 -1 ~0");
    }

    #[test]
    fn what_only_moves_within_the_text_does_not_change() {
        let moved = format!("# a comment\n{TEXT}");
        assert_eq!(changes(&moved), "the same routes, upstreams and listeners");
    }

    #[test]
    fn keys_that_need_a_restart_are_named_unless_the_command_line_overrides_them() {
        let runtime = "[runtime]\ncores = 2\ndriver = \"epoll\"\nlog = \"text\"\nbuffer_bytes_max = \"8MiB\"\n\
                       [admin]\naddress = \"off\"\n";
        let after = document(&TEXT.replace("[listeners", &format!("{runtime}[listeners")));
        let before = document(TEXT);
        let all = [
            "runtime.cores",
            "runtime.driver",
            "runtime.log",
            "runtime.buffer_bytes_max",
            "admin.address",
        ];
        assert_eq!(fixed_keys(&before, &after, &Options::default()), all);
        let options = Options { cores: Some(Cores::Count(1)), ..Options::default() };
        assert_eq!(fixed_keys(&before, &after, &options), all[1..]);
        assert!(fixed_keys(&before, &before, &Options::default()).is_empty());
    }
}

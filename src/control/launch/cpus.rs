//! Which CPUs the workers are pinned to.

use engine::config::{Cores, CpuList};

use crate::Error;

/// The CPUs that this process may run on, by number.
pub(super) fn permitted() -> Vec<usize> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    ids.into_iter().map(|core| core.id).collect()
}

/// One CPU per worker: the first `cores` of `cpus`, or of all that are permitted.
pub(super) fn resolve(
    cores: Cores,
    cpus: Option<&CpuList>,
    permitted: &[usize],
) -> Result<Vec<usize>, Error> {
    let listed = cpus.map_or(permitted, |CpuList(cpus)| cpus);
    if let Some(cpu) = listed.iter().find(|cpu| !permitted.contains(cpu)) {
        return Err(Error::start(
            format!("CPU {cpu} is not one that this process may run on"),
            format!(
                "choose among {} in --cpus or `runtime.cpus`, or widen what is permitted \
                 (taskset, AllowedCPUs= of systemd, --cpuset-cpus of a container)",
                ranges(permitted)
            ),
        ));
    }
    let count = match cores {
        Cores::All => listed.len(),
        Cores::Count(count) => count,
    };
    if count == 0 {
        return Err(Error::fatal("the kernel does not say which CPUs this process may run on"));
    }
    listed.get(..count).map(<[usize]>::to_vec).ok_or_else(|| {
        Error::start(
            format!("{count} cores are asked for, and there {}", of_cpus(listed)),
            "lower --cores or `runtime.cores`, or give more CPUs in --cpus or `runtime.cpus`: \
             each worker has a CPU of its own",
        )
    })
}

fn of_cpus(cpus: &[usize]) -> String {
    let (verb, noun) = if cpus.len() == 1 { ("is", "CPU") } else { ("are", "CPUs") };
    format!("{verb} {} {noun} to run on ({})", cpus.len(), ranges(cpus))
}

/// Writes "0-3,8".
fn ranges(cpus: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let run = |&(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERMITTED: [usize; 5] = [0, 1, 2, 3, 8];

    fn take(cores: Cores, cpus: Option<&str>) -> Result<Vec<usize>, String> {
        let cpus = cpus.map(|text| text.parse::<CpuList>().unwrap());
        resolve(cores, cpus.as_ref(), &PERMITTED).map_err(|error| error.to_string())
    }

    #[test]
    fn all_cores_are_all_permitted_cpus() {
        assert_eq!(take(Cores::All, None), Ok(PERMITTED.to_vec()));
    }

    #[test]
    fn a_count_takes_the_first_of_the_list_in_its_order() {
        assert_eq!(take(Cores::Count(2), None), Ok(vec![0, 1]));
        assert_eq!(take(Cores::Count(2), Some("8,1-3")), Ok(vec![8, 1]));
        assert_eq!(take(Cores::All, Some("8,1")), Ok(vec![8, 1]));
    }

    #[test]
    fn more_cores_than_cpus_is_an_error_that_counts_both() {
        let error = take(Cores::Count(6), None).unwrap_err();
        assert!(error.contains("6 cores are asked for, and there are 5 CPUs"), "{error}");
        assert!(error.contains("0-3,8"), "{error}");
        let error = take(Cores::Count(2), Some("3")).unwrap_err();
        assert!(error.contains("there is 1 CPU to run on (3)"), "{error}");
    }

    #[test]
    fn a_cpu_that_is_not_permitted_is_named_with_those_that_are() {
        let error = take(Cores::All, Some("0,5")).unwrap_err();
        assert!(error.contains("CPU 5 is not one"), "{error}");
        assert!(error.contains("choose among 0-3,8"), "{error}");
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!permitted().is_empty());
    }
}

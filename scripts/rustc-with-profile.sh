#!/bin/sh
# rustc, as cargo calls it here (.cargo/config.toml). An optimised build of a crate on the path of a request gets the
# profile of bench/profile, docs/decisions/0017-a-profile-for-the-layout.md; other calls go to rustc unchanged.
#   RINGWAY_PROFILE=off     builds without the profile
#   RINGWAY_PROFILE=count   builds programs that count, for the next profile: scripts/profile.sh
# Cargo does not see that the variable has changed: give each value a CARGO_TARGET_DIR of its own.
rustc=$1
shift
case ${CARGO_PKG_NAME-} in
proto | engine | worker | ringway | monoio) ;;
*) exec "$rustc" "$@" ;;
esac
case " $* " in
*" --cfg fuzzing "* | *profile-generate* | *profile-use* | *instrument-coverage*) exec "$rustc" "$@" ;;
*" opt-level=3 "*) ;;
*) exec "$rustc" "$@" ;;
esac
case ${RINGWAY_PROFILE-} in
off) exec "$rustc" "$@" ;;
count) exec "$rustc" "$@" -Cprofile-generate ;;
esac
# Another rustc gives the functions other names, and may not be able to read the profile.
release=$("$rustc" -vV | sed -n 's/^release: //p')
profile=$(dirname "$0")/../bench/profile/rustc-$release.profdata
if [ -f "$profile" ]; then
    exec "$rustc" "$@" "-Cprofile-use=$profile"
fi
exec "$rustc" "$@"

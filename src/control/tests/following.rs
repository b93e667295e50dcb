//! The file that is read again: when somebody asks, and when it changes.

use std::io::Write as _;

use super::*;

#[tokio::test]
async fn the_file_is_read_again_when_it_changes_or_somebody_asks() {
    local! {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TEXT).unwrap();
        let node = Fake::with(1, Some(file.path().to_owned()), Box::new(Discard));
        let reload = |from| apply(&node.control, from, false, None);
        assert!(reload(ChangeFrom::File).await.unwrap().unchanged);
        std::fs::write(file.path(), with_route(1)).unwrap();
        assert_eq!(reload(ChangeFrom::FileIfChanged).await.unwrap().version, 2);
        assert!(reload(ChangeFrom::FileIfChanged).await.unwrap().unchanged);

        // A posted text is live until the file changes ..
        assert_eq!(node.post(&with_route(2)).await.unwrap().version, 3);
        assert!(reload(ChangeFrom::FileIfChanged).await.unwrap().unchanged);
        assert!(node.control.config().contains("r2"));
        // .. or somebody asks for the file.
        assert_eq!(reload(ChangeFrom::File).await.unwrap().version, 4);
        assert!(node.control.config().contains("r1"));

        // A mistake that is put right is not remembered.
        std::fs::write(file.path(), "version = 2").unwrap();
        assert!(reload(ChangeFrom::FileIfChanged).await.is_err());
        assert!(reload(ChangeFrom::FileIfChanged).await.unwrap().unchanged);
        let last = || node.control.status().last_reload.unwrap().1;
        assert!(last().is_err(), "the file is as bad as before");
        std::fs::write(file.path(), with_route(1)).unwrap();
        assert!(reload(ChangeFrom::FileIfChanged).await.unwrap().unchanged);
        assert_eq!(last(), Ok(4));

        std::fs::remove_file(file.path()).unwrap();
        let Err(Refused::Cannot(why)) = reload(ChangeFrom::FileIfChanged).await else { panic!() };
        assert!(why.contains(&file.path().display().to_string()), "{why}");
        assert_eq!(node.versions(), [2, 3, 4]);
        std::fs::write(file.path(), TEXT).unwrap();
    }
}

#[tokio::test]
async fn half_of_a_file_is_neither_taken_nor_refused() {
    local! {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringway.toml");
        std::fs::write(&path, TEXT).unwrap();
        let node = Fake::with(1, Some(path.clone()), Box::new(Discard));
        let reload = |from| apply(&node.control, from, false, None);
        let whole = with_route(1);
        // A sound half, and one that no gateway can run.
        for len in [TEXT.len(), TEXT.len() - 1] {
            let (half, rest) = whole.as_bytes().split_at(len);
            let mut file = std::fs::File::create(&path).unwrap();
            file.write_all(half).unwrap();
            assert!(reload(ChangeFrom::FileIfChanged).await.unwrap().unchanged);
            assert!(node.control.status().last_reload.is_none(), "nothing is counted");
            file.write_all(rest).unwrap();
        }
        assert_eq!(reload(ChangeFrom::FileIfChanged).await.unwrap().version, 2);
        // The one that has asked gets an answer.
        let file = std::fs::File::create(&path).unwrap();
        let Err(Refused::Cannot(why)) = reload(ChangeFrom::File).await else { panic!() };
        assert!(why.contains("is being written"), "{why}");
        drop(file);
        std::fs::write(&path, TEXT).unwrap();
        assert_eq!(reload(ChangeFrom::File).await.unwrap().version, 3);
    }
}

#[tokio::test]
async fn a_file_that_is_followed_is_taken_when_it_changes() {
    local! {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringway.toml");
        std::fs::write(&path, TEXT).unwrap();
        let node = Fake::with(1, Some(path.clone()), Box::new(Discard));
        let file = node.control.shared.file.clone().unwrap();
        spawn_local(follow(node.control.clone(), file));
        let becomes = async |version| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while node.control.status().version < version && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(node.control.status().version, version);
        };
        let include = format!("include = [\"more.toml\"]\n{TEXT}");
        let route = with_route(1).replace(TEXT, "");
        std::fs::write(folder.path().join("more.toml"), route).unwrap();
        std::fs::write(&path, include).unwrap();
        becomes(2).await;
        // An included file is followed too.
        let route = with_route(2).replace(TEXT, "");
        std::fs::write(folder.path().join("more.toml"), route).unwrap();
        becomes(3).await;
        assert!(node.control.config().contains("r2"));
        assert_eq!(node.control.status().reloads_unchanged, 0, "nobody has asked");
    }
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_reload() {
    local! {
        let node = Fake::new(1);
        let Err(Refused::Cannot(why)) = node.control.apply(Change::default()).await else {
            panic!()
        };
        assert!(why.contains("no configuration file"), "{why}");
    }
}

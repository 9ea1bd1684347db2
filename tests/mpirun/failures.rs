//! How autodice-run ends when something is wrong: one line, the right code, and nothing left.

use std::time::{Duration, Instant};

use super::job::{Job, Mpirun};
use super::workplace::{own_lines, Workplace};

/// Every failure ends within this after somebody noticed it.
const SOON: Duration = Duration::from_secs(5);

/// One line of one rank's, with all of these words in it.
fn assert_line(job: &Job, rank: usize, words: &[&str]) {
    let lines = own_lines(job);
    assert_eq!(lines.len(), 1, "{job}");
    let begin = format!("rank {rank}@");
    assert!(lines[0].starts_with(&begin), "{job}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in: {job}");
    }
}

#[test]
fn what_the_user_got_wrong_is_one_line_and_code_2() {
    let place = Workplace::new();
    let good = || place.write_spec(2, "six.npy", "");
    good();
    let text = place.read("spec.yaml");
    place.write("unknown.yaml", text.replace("relu_a", "relu_x"));
    place.write("key.yaml", text.replace("stages", "stagez"));
    place.write("gone.yaml", text.replace("model.onnx", "gone.onnx"));
    place.write("short.yaml", text.replace("model.onnx", "short.onnx"));
    place.write(
        "cores.yaml",
        format!("{text}ranks: [{{}}, {{cores: 4000}}]\n"),
    );
    place.write("frames.yaml", text.replace("six.npy", "seven.npy"));
    place.write(
        "hosts.yaml",
        format!("{text}ranks: [{{}}, {{host: no-such-host}}]\n"),
    );
    let model = std::fs::read(place.path("model.onnx")).expect("the model");
    place.write("short.onnx", &model[..model.len() / 2]);
    place.write("full/already.txt", "here");
    let cases: [(usize, &[&str], usize, &[&str]); 12] = [
        (2, &["@key.yaml"], 0, &["key.yaml", "stagez"]),
        (
            2,
            &["@unknown.yaml"],
            0,
            &["unknown.yaml: stages[0].until", "relu_x"],
        ),
        (2, &["@missing.yaml"], 0, &["missing.yaml: No such file"]),
        (
            1,
            &["@spec.yaml"],
            0,
            &["spec.yaml", "2 ranks", "mpirun -np 2"],
        ),
        (
            3,
            &["@spec.yaml"],
            0,
            &["spec.yaml", "2 ranks", "mpirun -np 2"],
        ),
        (2, &["@gone.yaml"], 0, &["gone.onnx"]),
        (2, &["@short.yaml"], 0, &["short.onnx"]),
        (2, &["@frames.yaml"], 0, &["seven.npy"]),
        (
            2,
            &["@spec.yaml", "--input", "@eight.npy"],
            0,
            &["eight.npy"],
        ),
        (
            2,
            &["@spec.yaml", "--output", "@full"],
            0,
            &["full: not empty"],
        ),
        (2, &["@cores.yaml"], 1, &["ranks[1].cores", "4000"]),
        (
            2,
            &["@hosts.yaml"],
            0,
            &["no-such-host", "mpirun -host", "-n 2"],
        ),
    ];
    for (ranks, arguments, who, words) in cases {
        let Some(job) = place.run(ranks, arguments) else {
            return;
        };
        job.expect_code(2, &format!("{arguments:?} at {ranks}"));
        assert_line(&job, who, words);
        assert!(job.took < SOON * 2, "{job}");
        assert_eq!(job.stdout, "", "{job}");
    }
    // The job runs, over nothing.
    let unread = ["@spec.yaml", "--input", "@short.onnx", "--quiet"];
    let job = place.run(2, &unread).expect("mpirun is there");
    job.expect_code(2, "nothing that can be read");
    assert_line(&job, 0, &["of 1 items none can be read"]);
    // A wrong flag is no rank's: usage, once.
    let job = place
        .run(2, &["@spec.yaml", "--fast"])
        .expect("mpirun is there");
    job.expect_code(2, "an unknown flag");
    assert_eq!(
        job.stderr.matches("unexpected argument").count(),
        1,
        "{job}"
    );
}

/// A job over more frames than anybody waits for, with some of them done.
fn in_the_middle(place: &Workplace, ranks: usize, run: &str) -> Option<super::job::Running> {
    place.write_spec(ranks, "{synthetic: {count: 1000000000, seed: 3}}", run);
    let mut running = place.start(ranks, &["@spec.yaml", "--output", "@out"])?;
    place.wait_for_frames(&mut running, "out", 20);
    Some(running)
}

/// Every line of `frames.csv` is of a frame that both arrays have.
fn assert_rows_are_complete(place: &Workplace) -> usize {
    let rows = place.rows("out");
    let columns = place
        .read("out/frames.csv")
        .lines()
        .next()
        .map(|line| line.split(',').count());
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row[0], number.to_string());
        assert_eq!((&row[3], Some(row.len())), ("ok", columns));
    }
    assert!(rows.len() >= 20);
    rows.len()
}

#[test]
fn a_killed_rank_ends_the_job_with_137() {
    for rank in [1, 0] {
        let place = Workplace::new();
        let Some(running) = in_the_middle(&place, 2, "") else {
            return;
        };
        let killed = Instant::now();
        running.signal_rank(rank, "KILL");
        let job = running.wait();
        assert!(killed.elapsed() < SOON, "{job}");
        job.expect_code(137, &format!("rank {rank} killed"));
        assert!(own_lines(&job).len() <= 1, "{job}");
        // An array may have one more frame than there are rows, never fewer.
        let rows = assert_rows_are_complete(&place);
        for array in ["out/pool.npy", "out/fc.npy"] {
            let frames = place.frames_in(array);
            assert!(
                frames == rows || frames == rows + 1,
                "{frames} for {rows} rows"
            );
        }
    }
}

#[test]
fn a_silent_rank_is_noticed_and_named() {
    for (silent, noticing) in [(1, 0), (0, 1)] {
        let place = Workplace::new();
        let Some(running) = in_the_middle(&place, 2, "watchdog: 3s") else {
            return;
        };
        let stopped = Instant::now();
        running.signal_rank(silent, "STOP");
        let job = running.wait();
        let took = stopped.elapsed();
        job.expect_code(1, &format!("rank {silent} stopped"));
        assert_line(
            &job,
            noticing,
            &[&format!("rank {silent} has been silent for 3.")],
        );
        assert!(took < Duration::from_secs(3) + SOON, "{took:?}: {job}");
        if noticing == 0 {
            let rows = assert_rows_are_complete(&place);
            let report = place.report("out");
            assert_eq!(
                (&report["status"], &report["frames"]),
                (&"failed".into(), &rows.into())
            );
        }
    }
}

#[test]
fn a_short_pause_is_no_failure() {
    let place = Workplace::new();
    for rank in [0, 1] {
        let _ = std::fs::remove_dir_all(place.path("out"));
        let Some(mut running) = in_the_middle(&place, 2, "watchdog: 4s") else {
            return;
        };
        running.signal_rank(rank, "STOP");
        std::thread::sleep(Duration::from_secs(2));
        running.signal_rank(rank, "CONT");
        let before = place.rows("out").len();
        place.wait_for_frames(&mut running, "out", before + 200);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!running.has_ended());
        running.signal("TERM");
        let job = running.wait();
        assert!(!job.stderr.contains("silent"), "{job}");
        assert!(job.left.is_empty(), "{job}");
    }
}

/// A launcher that suspends the whole job must not make its ranks accuse each other.
#[test]
fn a_pause_of_all_ranks_is_no_failure() {
    let place = Workplace::new();
    let Some(mut running) = in_the_middle(&place, 2, "watchdog: 2s") else {
        return;
    };
    (0..2).for_each(|rank| running.signal_rank(rank, "STOP"));
    std::thread::sleep(Duration::from_secs(4));
    (0..2).for_each(|rank| running.signal_rank(rank, "CONT"));
    let before = place.rows("out").len();
    place.wait_for_frames(&mut running, "out", before + 200);
    std::thread::sleep(Duration::from_millis(500));
    assert!(!running.has_ended());
    running.signal("TERM");
    let job = running.wait();
    assert!(!job.stderr.contains("silent"), "{job}");
    assert!(job.left.is_empty(), "{job}");
}

#[test]
fn told_to_stop_it_keeps_what_is_done() {
    for ranks in 1..=3 {
        let place = Workplace::new();
        let Some(running) = in_the_middle(&place, ranks, "") else {
            return;
        };
        let told = Instant::now();
        running.signal("TERM");
        let job = running.wait();
        assert!(told.elapsed() < SOON, "{job}");
        // mpirun's own answer to SIGTERM, whatever its ranks return.
        job.expect_code(1, &format!("{ranks} ranks told to stop"));
        let rows = assert_rows_are_complete(&place);
        assert_eq!(place.frames_in("out/pool.npy"), rows);
        assert_eq!(place.frames_in("out/fc.npy"), rows);
        let report = place.report("out");
        assert_eq!(report["status"], "interrupted");
        assert_eq!(report["frames"], rows);
    }
}

#[test]
fn a_panic_of_a_thread_is_101() {
    for rank in 0..3 {
        let place = Workplace::new();
        place.write_spec(3, "six.npy", "");
        let Some(mpirun) = Mpirun::new(3) else {
            return;
        };
        let mpirun = mpirun.env("AUTODICE_TEST_PANIC", &format!("{rank}:4"));
        let arguments = ["@spec.yaml", "--output", "@out"];
        let job = place
            .start_with(mpirun, &arguments)
            .expect("mpirun is there")
            .wait();
        job.expect_code(101, &format!("rank {rank} panics"));
        assert_line(&job, rank, &["panicked", "src/runner/compute.rs"]);
        assert!(job.took < SOON * 2, "{job}");
        if rank == 0 {
            let report = place.report("out");
            assert_eq!(report["status"], "failed");
            assert_eq!(report["frames"], place.rows("out").len());
        }
    }
}

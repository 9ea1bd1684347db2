//! Whole runs of autodice-run: the same outputs however the model is divided.

use super::job::{Job, Mpirun};
use super::workplace::{own_lines, Workplace};

const TCP: [&str; 3] = ["--mca", "btl", "tcp,self"];

/// A run that ended well, with its JSON on stdout and in its file, and every row in its tables.
fn assert_whole(place: &Workplace, job: &Job, output: &str, ranks: usize, frames: usize) {
    job.expect_code(0, output);
    assert_eq!(own_lines(job), [""; 0], "{job}");
    let report: serde_json::Value = serde_json::from_str(&job.stdout).expect("JSON on stdout");
    assert_eq!(report, place.report(output));
    assert_eq!(report["status"], "done");
    assert_eq!(report["frames"], frames);
    assert_eq!(report["ranks"].as_array().map(Vec::len), Some(ranks));
    let rows = place.rows(output);
    assert_eq!(rows.len(), frames);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row[0], number.to_string());
        assert_eq!(&row[3], "ok");
    }
    let ranks_csv = place.read(&format!("{output}/ranks.csv"));
    assert_eq!(ranks_csv.lines().count(), 1 + ranks);
    for array in ["pool.npy", "fc.npy"] {
        assert_eq!(place.frames_in(&format!("{output}/{array}")), frames);
    }
}

fn same_outputs(place: &Workplace, a: &str, b: &str) {
    for array in ["pool.npy", "fc.npy"] {
        let [a, b] = [a, b].map(|folder| std::fs::read(place.path(folder).join(array)));
        let (a, b) = (a.expect("an array"), b.expect("an array"));
        assert!(a == b && !a.is_empty(), "{array} differs");
    }
}

#[test]
fn outputs_are_the_same_at_1_to_4_ranks() {
    let place = Workplace::new();
    for ranks in 1..=4 {
        place.write_spec(ranks, "six.npy", "");
        let output = format!("out{ranks}");
        let at = format!("@{output}");
        let arguments = [
            "@spec.yaml",
            "--output",
            &at,
            "--verify",
            "--json",
            "--warmup",
            "2",
        ];
        let Some(job) = place.run(ranks, &arguments) else {
            return;
        };
        assert_whole(&place, &job, &output, ranks, 6);
        assert_eq!(place.report(&output)["wrong"], 0);
        same_outputs(&place, "out1", &output);
    }
}

#[test]
fn outputs_are_the_same_over_tcp() {
    let place = Workplace::new();
    for (ranks, flags) in [(1, &[][..]), (2, &TCP), (3, &TCP)] {
        let Some(mpirun) = Mpirun::new(ranks) else {
            return;
        };
        place.write_spec(ranks, "six.npy", "in_flight: 2");
        let output = format!("out{ranks}");
        let at = format!("@{output}");
        let arguments = ["@spec.yaml", "--output", &at, "--verify", "--json"];
        let running = place.start_with(mpirun.flags(flags), &arguments);
        let job = running.expect("mpirun is there").wait();
        assert_whole(&place, &job, &output, ranks, 6);
        same_outputs(&place, "out1", &output);
    }
}

#[test]
fn each_rank_reads_its_own_folder() {
    let place = Workplace::new();
    place.write_spec(2, "six.npy", "");
    let plain = ["@spec.yaml", "--output", "@plain", "--json"];
    let Some(job) = place.run(2, &plain) else {
        return;
    };
    assert_whole(&place, &job, "plain", 2, 6);
    place.autodice(&["split", "@spec.yaml", "-o", "@cut"]);
    std::fs::remove_file(place.path("model.onnx")).expect("the model goes away");
    let own = [
        "@cut/spec.yaml",
        "--input",
        "@six.npy",
        "--output",
        "@own",
        "--json",
    ];
    let job = place.run(2, &own).expect("mpirun is there");
    assert_whole(&place, &job, "own", 2, 6);
    same_outputs(&place, "plain", "own");

    // Nothing to compare with.
    let verify = [
        "@cut/spec.yaml",
        "--input",
        "@six.npy",
        "--verify",
        "--output",
        "@none",
    ];
    let job = place.run(2, &verify).expect("mpirun is there");
    job.expect_code(2, "without the model");
    let lines = own_lines(&job);
    assert!(lines.len() == 1 && lines[0].contains("model.onnx"), "{job}");
    assert!(
        !place.path("none").exists(),
        "a folder of outputs before there are any"
    );

    // A model with other weights where the spec has it.
    place.write_model("model.onnx", 2);
    let job = place.run(2, &verify).expect("mpirun is there");
    job.expect_code(3, "another model's outputs");
    let report = place.report("none");
    assert_eq!(report["status"], "done");
    assert!(report["wrong"].as_u64() > Some(0), "{job}");
    assert!(job.stdout.contains("wrong"), "{job}");
    same_outputs(&place, "plain", "none");

    // Folders that were split for another spec.
    place.write_spec(2, "six.npy", "in_flight: 7");
    std::fs::copy(place.path("spec.yaml"), place.path("cut/spec.yaml")).expect("a copy");
    let job = place.run(2, &own[..3]).expect("mpirun is there");
    job.expect_code(2, "another plan");
    let lines = own_lines(&job);
    assert!(
        lines.len() == 1 && lines[0].contains("split again"),
        "{job}"
    );
}

#[test]
fn a_bad_image_gets_a_row_and_the_batch_goes_on() {
    let place = Workplace::new();
    place.write_spec(2, "pictures/*.png", "");
    for (index, name) in ["a", "b", "d"].iter().enumerate() {
        let mut picture = image::RgbImage::new(8, 12);
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            pixel.0 = [x as u8, y as u8, index as u8];
        }
        let path = place.write(&format!("pictures/{name}.png"), "");
        picture.save(path).expect("a picture");
    }
    place.write("pictures/c.png", "no picture");
    place.write("pictures/e.png", "");
    let Some(job) = place.run(2, &["@spec.yaml", "--output", "@out", "--verify"]) else {
        return;
    };
    job.expect_code(0, "bad images");
    let rows = place.rows("out");
    let column = |at: usize| {
        rows.iter()
            .map(|row| row[at].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(column(0), ["0", "1", "", "2", ""]);
    assert_eq!(column(1), ["a.png", "b.png", "c.png", "d.png", "e.png"]);
    let status = column(3);
    assert!(
        status[2].starts_with("bad: ") && status[4].starts_with("bad: "),
        "{status:?}"
    );
    assert_eq!(place.frames_in("out/fc.npy"), 3);
    let report = place.report("out");
    assert_eq!(
        (&report["frames"], &report["bad_frames"]),
        (&3.into(), &2.into())
    );
    assert_eq!(
        (&report["status"], &report["wrong"]),
        (&"done".into(), &0.into())
    );
    assert!(job.stdout.starts_with('#'), "{job}");
}

#[test]
fn flags_say_which_frames_and_how_many() {
    let place = Workplace::new();
    place.write_spec(2, "{synthetic: {count: 50, seed: 3}}", "");
    place.write_frames("two.npy", 2);
    let frames = [
        "@spec.yaml",
        "--frames",
        "3",
        "--warmup",
        "5",
        "--output",
        "@few",
        "--json",
    ];
    let Some(job) = place.run(2, &frames) else {
        return;
    };
    assert_whole(&place, &job, "few", 2, 3);
    assert_eq!(place.report("few")["settings"]["warmup"], 5);
    let input = [
        "@spec.yaml",
        "--input",
        "@two.npy",
        "--output",
        "@given",
        "--json",
    ];
    let job = place.run(2, &input).expect("mpirun is there");
    assert_whole(&place, &job, "given", 2, 2);
    assert_eq!(&place.rows("given")[1][1], "two.npy[1]");
    let none = [
        "@spec.yaml",
        "--frames",
        "0",
        "--output",
        "@none",
        "--json",
        "--verify",
    ];
    let job = place.run(2, &none).expect("mpirun is there");
    assert_whole(&place, &job, "none", 2, 0);
}

#[test]
fn kept_weights_are_used_again_and_damaged_ones_are_sent_again() {
    let place = Workplace::new();
    place.write_spec(3, "six.npy", "");
    let run = |output: &str| {
        let at = format!("@{output}");
        let job = place.run(3, &["@spec.yaml", "--output", &at, "--cache", "@kept"])?;
        job.expect_code(0, output);
        Some(())
    };
    if run("first").is_none() {
        return;
    }
    let kept = |place: &Workplace| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(place.path("kept")).expect("the cache");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let files = kept(&place);
    assert!(!files.is_empty());
    let when = |path: &std::path::PathBuf| {
        let facts = std::fs::metadata(path).expect("a kept slice");
        facts.modified().expect("a time")
    };
    let before: Vec<_> = files.iter().map(when).collect();
    run("second");
    same_outputs(&place, "first", "second");
    assert_eq!(
        files.iter().map(when).collect::<Vec<_>>(),
        before,
        "nothing was sent again"
    );
    for path in &files {
        let mut bytes = std::fs::read(path).expect("a kept slice");
        bytes[0] ^= 1;
        std::fs::write(path, bytes).expect("a damaged slice");
    }
    run("third");
    same_outputs(&place, "first", "third");
}

/// glibc reads how its heap is to be before `main`: a rank starts again for it, as the same
/// process, unless the user has set it.
#[test]
fn a_rank_starts_again_once_for_its_heap() {
    let place = Workplace::new();
    place.write_spec(2, "six.npy", "");
    let starts = cfg!(all(target_os = "linux", target_env = "gnu"));
    let setting = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=7");
    for (given, expected) in [(None, 2 * usize::from(starts)), (Some(setting), 0)] {
        let Some(mpirun) = Mpirun::new(2) else {
            return;
        };
        let mpirun = match given {
            Some((name, value)) => mpirun.env(name, value),
            None => mpirun,
        };
        let running = place.start_with(mpirun, &["@spec.yaml", "-vv", "--frames", "3"]);
        let job = running.expect("mpirun is there").wait();
        job.expect_code(0, &format!("{given:?}"));
        let again = job.stderr.matches("started again").count();
        assert_eq!(again, expected, "{job}");
    }
}

//! AutoDiCE's own files, in and out.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use autodice::graph::{check_graph, Activation, Dtype, Graph, Node, Op, Operand};
use autodice::ids::{ActivationId, NodeId};
use autodice::plan::{compile, compile_owners, sender_receiver};
use autodice::platform::hostfile::{write_open_mpi, Host};
use autodice::platform::rankfile::{open_mpi_flags, write_autodice, write_rankfile, Place};
use autodice::spec::autodice::import;
use autodice::spec::yaml::{parse, to_yaml};
use autodice::spec::{Spec, StageNodes};

use crate::skip::skipped;

/// The AlexNet demo of AutoDiCE: what its two keys list.
const FIRST: &str = "conv1_1 conv1_2 norm1_1 pool1_1 conv2_1 conv2_2 norm2_1 pool2_1 conv3_1 \
                     conv3_2 conv4_1 conv4_2 conv5_1 conv5_2 pool5_1 OC2_DUMMY_0 fc6_1 fc6_2";
const SECOND: &str = "fc6_3 fc7_1 fc7_2 fc7_3 fc8_1 prob_1";

/// A model of nodes (ONNX name, output, inputs): `input` is the model's, the last output its own.
fn graph(nodes: &[(String, String, Vec<String>)]) -> Graph {
    let activation = |name: &str, producer, shape: &[usize]| Activation {
        name: name.into(),
        shape: shape.into(),
        dtype: Dtype::F32,
        producer,
        consumers: vec![],
    };
    let mut graph = Graph {
        name: "test".into(),
        opset: 9,
        nodes: vec![],
        activations: vec![activation("input", None, &[1, 4, 2, 2])],
        inputs: vec![ActivationId(0)],
        outputs: vec![ActivationId::new(nodes.len())],
        weights: vec![],
        folded: vec!["/shape/Constant".into()],
    };
    for (i, (name, output, inputs)) in nodes.iter().enumerate() {
        let find = |name: &String| {
            let place = graph.activations.iter().position(|a| a.name == *name);
            ActivationId::new(place.expect("an input made before"))
        };
        let inputs: Vec<_> = inputs.iter().map(find).collect();
        let flat = graph.activation(inputs[0]).shape.len() == 2 || output.contains("DUMMY");
        let (op, op_type) = match output.contains("DUMMY") {
            true => (Op::Flatten { axis: 1 }, "Flatten"),
            false => (Op::Elementwise, "Sum"),
        };
        for input in &inputs {
            graph.activations[input.index()]
                .consumers
                .push(NodeId::new(i));
        }
        let shape: &[usize] = if flat { &[1, 16] } else { &[1, 4, 2, 2] };
        graph
            .activations
            .push(activation(output, Some(NodeId::new(i)), shape));
        graph.nodes.push(Node {
            name: name.clone(),
            origin: name.clone(),
            op_type: op_type.into(),
            domain: String::new(),
            attributes: vec![],
            op,
            inputs: inputs.into_iter().map(Operand::Activation).collect(),
            outputs: vec![ActivationId::new(i + 1)],
        });
    }
    check_graph(&graph).unwrap();
    graph
}

/// Nodes one behind the other, each named as its output.
fn chain(names: &[&str]) -> Graph {
    let before = ["input"].into_iter().chain(names.iter().copied());
    let node = |(name, before): (&&str, &str)| {
        (name.to_string(), name.to_string(), vec![before.to_string()])
    };
    graph(&names.iter().zip(before).map(node).collect::<Vec<_>>())
}

fn demo() -> Graph {
    let names: Vec<_> = FIRST.split(' ').chain(SECOND.split(' ')).collect();
    assert_eq!(names.len(), 24);
    chain(&names)
}

fn list(names: &str) -> String {
    let names: Vec<_> = names.split(' ').map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", names.join(", "))
}

fn demo_mapping() -> String {
    let (first, second) = (list(FIRST), list(SECOND));
    format!("{{\"lenovo_cpu0\": {first},\n \"lenovo_cpu1\": {second}}}")
}

fn model() -> &'static Path {
    Path::new("../models/alexnet.onnx")
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn places(spec: &Spec) -> Vec<Place> {
    let place = |rank: &autodice::spec::RankSpec| Place {
        host: rank.host.clone().unwrap(),
        cores: rank.cores.clone().unwrap(),
    };
    spec.ranks.iter().map(place).collect()
}

#[test]
fn the_demo_gives_the_tables_that_autodice_prints() {
    let graph = demo();
    let (spec, warnings) = import(&demo_mapping(), "lenovo\n", &graph, model()).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(spec.rank_count(), 2);
    assert_eq!(spec.model, model());
    let nodes: Vec<_> = FIRST.split(' ').map(String::from).collect();
    assert_eq!(spec.stages[0].nodes, StageNodes::List(nodes));
    assert_eq!(spec.stages[1].ranks, [1]);
    assert_eq!(parse("spec.yaml", &to_yaml(&spec)).unwrap(), spec);

    let plan = compile(&graph, &spec).unwrap();
    let (sender, receiver) = sender_receiver(&graph, &plan, &keys(&["lenovo_cpu0", "lenovo_cpu1"]));
    assert_eq!(
        sender,
        r#"{"lenovo_cpu0": {"fc6_2": [1]}, "lenovo_cpu1": {}}"#
    );
    assert_eq!(
        receiver,
        r#"{"lenovo_cpu0": {}, "lenovo_cpu1": {"fc6_2": [0]}}"#
    );
    assert_eq!(
        write_autodice(&places(&spec)),
        "rank 0=lenovo    slots=0\nrank 1=lenovo    slots=1\n"
    );
}

#[test]
fn tables_of_interleaved_and_branching_stages_hold_stage_to_stage_only() {
    let rows = [
        ("a", "x/a", "input"),
        ("b", "x/b", "x/a"),
        ("c", "x/c", "x/a"),
        ("d", "x/d", "x/b x/c"),
        ("e", "x/e", "x/d x/a"),
        ("f", "x/f", "x/e"),
    ];
    let row = |(name, output, inputs): (&str, &str, &str)| {
        let inputs = inputs.split(' ').map(String::from).collect();
        (name.to_string(), output.to_string(), inputs)
    };
    let graph = graph(&rows.map(row));
    // Names are outputs in AutoDiCE's form; the spec gets ONNX names, which resolve here.
    let mapping =
        r#"{"h_cpu0": ["x_b", "x_e"], "h_cpu1": ["x_a", "x_d"], "h_cpu2": ["x_c", "x_f"]}"#;
    let (spec, _) = import(mapping, "h", &graph, model()).unwrap();
    assert_eq!(spec.stages[0].nodes, StageNodes::List(keys(&["b", "e"])));
    let plan = compile(&graph, &spec).unwrap();
    let (sender, receiver) = sender_receiver(&graph, &plan, &keys(&["h_cpu0", "h_cpu1", "h_cpu2"]));
    let rows = [
        r#"{"h_cpu0": {"x_b": [1], "x_e": [2]}"#,
        r#""h_cpu1": {"x_a": [0, 2], "x_d": [0]}"#,
        r#""h_cpu2": {"x_c": [1]}}"#,
    ];
    assert_eq!(sender, rows.join(", "));
    let rows = [
        r#"{"h_cpu0": {"x_a": [1], "x_d": [1]}"#,
        r#""h_cpu1": {"x_b": [0], "x_c": [2]}"#,
        r#""h_cpu2": {"x_a": [1], "x_e": [0]}}"#,
    ];
    assert_eq!(receiver, rows.join(", "));
}

/// The tables against a direct reading of the graph, for every assignment of a branching model.
#[test]
fn tables_agree_with_the_edges_for_every_assignment() {
    let rows = [
        ("a", "input"),
        ("b", "a"),
        ("c", "a"),
        ("d", "b c"),
        ("e", "a d"),
        ("f", "e"),
    ];
    let row = |(name, inputs): (&str, &str)| {
        let inputs = inputs.split(' ').map(String::from).collect();
        (name.to_string(), name.to_string(), inputs)
    };
    let graph = graph(&rows.map(row));
    let names = keys(&["p", "q", "r"]);
    for code in 0..3usize.pow(6) {
        let owner = |node: NodeId| code / 3usize.pow(node.0) % 3;
        let owners: Vec<_> = graph
            .node_ids()
            .map(|n| autodice::ids::Rank::new(owner(n)))
            .collect();
        let plan = compile_owners(&graph, &owners, 3, 1);
        let (sender, receiver) = sender_receiver(&graph, &plan, &names);
        let table = |of: &dyn Fn(usize, NodeId) -> Vec<usize>| {
            let mut object = serde_json::Map::new();
            for (rank, name) in names.iter().enumerate() {
                let row = graph.node_ids().filter_map(|n| {
                    let ranks = of(rank, n);
                    (!ranks.is_empty()).then(|| (graph.node(n).name.clone(), ranks.into()))
                });
                let row: serde_json::Map<String, serde_json::Value> = row.collect();
                object.insert(name.clone(), row.into());
            }
            serde_json::Value::Object(object).to_string()
        };
        let readers = |n: NodeId| {
            let consumers = &graph.activation(graph.node(n).outputs[0]).consumers;
            let ranks = (0..3).filter(|&r| consumers.iter().any(|&c| owner(c) == r));
            ranks.filter(|&r| r != owner(n)).collect::<Vec<_>>()
        };
        let sent = |rank, n| if owner(n) == rank { readers(n) } else { vec![] };
        let got = |rank, n| {
            if readers(n).contains(&rank) {
                vec![owner(n)]
            } else {
                vec![]
            }
        };
        let plain = |text: &str| text.replace(' ', "");
        assert_eq!(plain(&sender), table(&sent), "assignment {code}");
        assert_eq!(plain(&receiver), table(&got), "assignment {code}");
    }
}

#[test]
fn both_platform_formats_and_gpu_keys_are_read() {
    let graph = chain(&["a", "b", "c"]);
    let mapping = r#"{"nx01_arm012345": ["a"], "nx02_gpu": ["b"], "nx01_gpu": ["c"]}"#;
    let table = "nx01, arm, slots=0-5, gpu=NVIDIAVolta (CUDA)\nnx02, x86, slots=0,1,2,3 # four\n";
    let (spec, warnings) = import(mapping, table, &graph, model()).unwrap();
    let rank = |i: usize| {
        let rank = &spec.ranks[i];
        (
            rank.host.as_deref().unwrap(),
            rank.cores.clone().unwrap(),
            rank.threads.unwrap(),
        )
    };
    assert_eq!(rank(0), ("nx01", vec![0, 1, 2, 3, 4, 5], 6));
    assert_eq!(rank(1), ("nx02", vec![3], 1));
    assert_eq!(rank(2), ("nx01", vec![5], 1));
    assert_eq!(
        warnings,
        [
            "nx02_gpu, nx01_gpu: there is no GPU engine; these run on the CPU with one thread",
            "core 5 of nx01 is shared by ranks 0, 2",
        ]
    );
    for hosts in ["nx01\nnx02\n", "nx01 slots=6\nnx02:4", "# all\nnx[01-02]\n"] {
        let (spec, _) = import(mapping, hosts, &graph, model()).unwrap();
        assert_eq!(spec.ranks[1].cores, Some(vec![5]));
    }
}

#[test]
fn a_folded_node_may_be_listed() {
    let graph = chain(&["a", "b"]);
    let mapping = r#"{"h_cpu0": ["_shape_Constant", "a"], "h_cpu1": ["b"]}"#;
    let (spec, _) = import(mapping, "h", &graph, model()).unwrap();
    assert_eq!(spec.stages[0].nodes, StageNodes::List(keys(&["a"])));
}

#[test]
fn what_autodice_only_prints_is_refused() {
    let graph = chain(&["a", "b", "c"]);
    let key = "expected host_cpu<cores>, host_arm<cores> or host_gpu";
    let digits = "each character is one core, 0 to 9, so cores from 10 on cannot be written";
    for (mapping, platform, message) in [
        (
            r#"{"h_cpu0": ["a", "c"]}"#,
            "h",
            "nodes that no key lists: b".to_string(),
        ),
        (
            r#"{"h_cpu0": ["a", "b", "d", "c"]}"#,
            "h",
            "not nodes of the model: d".into(),
        ),
        (
            r#"{"h_cpu0": ["a", "b"], "h_cpu1": ["b", "c", "a"]}"#,
            "h",
            "mapped more than once: b (in h_cpu0 and h_cpu1), a (in h_cpu0 and h_cpu1)".into(),
        ),
        (
            r#"{"h_cpu0": ["a", "b"], "h_cpu0": ["c"]}"#,
            "h",
            "h_cpu0: the key stands twice".into(),
        ),
        (
            r#"{"h_cpu0": ["a", "b"], "g_cpu1": ["c"]}"#,
            "h\ni",
            "g_cpu1: host g is not in the platform, which has h, i".into(),
        ),
        (
            r#"{"my_host_cpu0": ["a"]}"#,
            "h",
            format!("my_host_cpu0: host `my_host`: a host has no `_`; {key}"),
        ),
        (r#"{"hcpu0": ["a"]}"#, "h", format!("hcpu0: {key}")),
        (
            r#"{"h_tpu0": ["a"]}"#,
            "h",
            format!("h_tpu0: unknown resource `tpu0`; {key}"),
        ),
        (
            r#"{"h_cpu": ["a"]}"#,
            "h",
            format!("h_cpu: found cores ``: {digits}"),
        ),
        (
            r#"{"h_cpu0-3": ["a"]}"#,
            "h",
            format!("h_cpu0-3: found cores `0-3`: {digits}"),
        ),
        (
            r#"{"h_cpu1011": ["a"]}"#,
            "h",
            format!("h_cpu1011: core 1 stands twice in `1011`: {digits}"),
        ),
        (
            r#"{"h_cpu7": ["a", "b", "c"]}"#,
            "h, arm, slots=0-5",
            "h_cpu7: core 7 is not among the platform's slots of h".into(),
        ),
        (
            r#"{"h_cpu0": []}"#,
            "h",
            "h_cpu0: no node, expected a list of node names".into(),
        ),
        (
            r#"{"h_cpu0": ["a", 3]}"#,
            "h",
            "h_cpu0: found 3, expected a list of node names".into(),
        ),
        (
            "[]",
            "h",
            "invalid type: sequence, expected an object with a list of nodes for each key \
             at line 1 column 0"
                .into(),
        ),
        (
            "{}",
            "h",
            "no key, expected e.g. {\"pi0_cpu01\": [\"conv1\"]}".into(),
        ),
    ] {
        let error = import(mapping, platform, &graph, model())
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("mapping.json: {message}"));
    }
    for (platform, message) in [
        ("", "no host; a line is a host, e.g. `pi0 slots=4`"),
        (
            "a_b",
            "host a_b: a key of the mapping is host_resource, so a host has no `_`",
        ),
        (
            "h, arm, slots=0..5",
            "line 1: found slots=0..5, expected core numbers, e.g. slots=0-5",
        ),
        ("h, arm\nh, arm", "line 2: host h stands twice"),
        (
            "h, cores=4",
            "line 1: found `cores=4`, expected e.g. nx01, arm, slots=0-5, \
                        gpu=NVIDIAVolta (CUDA)",
        ),
    ] {
        let mapping = r#"{"h_cpu0": ["a", "b", "c"]}"#;
        let error = import(mapping, platform, &graph, model())
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("platform.txt: {message}"));
    }
}

/// Writes a host file and a rank file for this machine and starts a process on each place.
#[test]
fn mpirun_takes_our_host_file_and_rank_file() {
    let version = Command::new("mpirun").arg("--version").output();
    let version = match &version {
        Ok(output) => String::from_utf8_lossy(&output.stdout),
        Err(error) => return skipped(&format!("mpirun does not start: {error}")),
    };
    let major = version
        .split_once("(Open MPI) ")
        .and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    let Some(major) = major else {
        return skipped("mpirun is not Open MPI's");
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return skipped("a place for each of two ranks needs two cores");
    }
    let folder = tempfile::tempdir().unwrap();
    let host = Host {
        name: "localhost".into(),
        user: None,
        slots: Some(2),
    };
    let place = |core| Place {
        host: "localhost".into(),
        cores: vec![core],
    };
    std::fs::write(folder.path().join("a.hosts"), write_open_mpi(&[host])).unwrap();
    std::fs::write(
        folder.path().join("a.rankfile"),
        write_rankfile(&[place(1), place(0)]),
    )
    .unwrap();
    let output = Command::new("mpirun")
        .args(["--hostfile", "a.hosts"])
        .args(open_mpi_flags(major, "a.rankfile").unwrap())
        .args(["-n", "2", "sh", "-c"])
        .arg("echo $OMPI_COMM_WORLD_RANK $(grep Cpus_allowed_list /proc/self/status)")
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let mut lines: Vec<_> = text.lines().map(str::to_string).collect();
    lines.sort();
    assert_eq!(
        lines,
        ["0 Cpus_allowed_list: 1", "1 Cpus_allowed_list: 0"],
        "{errors}"
    );
}

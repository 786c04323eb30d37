//! Claims and volumes as documents: plans are applied to them as the apiserver would, until nothing is left to do.

use std::sync::Arc;

use api::patch::merge::merge;
use proptest::prelude::*;

use super::*;
use crate::objects::{Node, PersistentVolume, PersistentVolumeClaim, StorageClass};

/// A cluster of one claim and some volumes.
#[derive(Clone)]
struct World {
    claim: Option<Value>,
    volumes: Vec<Value>,
    classes: Vec<Value>,
    nodes: Vec<Value>,
    told: Vec<&'static str>,
}

fn claim(more: Value) -> Value {
    let mut claim = json!({
        "metadata": {"name": "data", "namespace": "shop", "uid": "c1", "resourceVersion": "1"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": {"requests": {"storage": "5Gi"}},
        },
        "status": {"phase": "Pending"},
    });
    merge(&mut claim, more);
    claim
}

fn volume(name: &str, size: &str, more: Value) -> Value {
    let mut volume = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1"},
        "spec": {
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
        },
        "status": {"phase": "Available"},
    });
    merge(&mut volume, more);
    volume
}

fn parsed<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<Arc<T>> {
    values.iter().map(|value| Arc::new(serde_json::from_value(value.clone()).unwrap())).collect()
}

impl World {
    fn new(claim: Option<Value>, volumes: Vec<Value>) -> Self {
        let class = |name: &str, provisioner: &str, mode: &str| json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode});
        let mut standard = class("standard", provision::NODE_LOCAL, "WaitForFirstConsumer");
        standard["metadata"]["annotations"] = json!({crate::objects::IS_DEFAULT_CLASS: "true"});
        standard["allowVolumeExpansion"] = json!(true);
        let classes = vec![
            standard,
            class("now", provision::NODE_LOCAL, "Immediate"),
            class("other", "example.com/disk", "Immediate"),
        ];
        let node = json!({"metadata": {"name": "n1", "annotations": {provision::FOLDER: "/data/volumes"}}});
        Self { claim, volumes, classes, nodes: vec![node], told: Vec::new() }
    }

    fn claim_plan(&self) -> Plan {
        let Some(claim) = &self.claim else { return Plan::default() };
        let claim: PersistentVolumeClaim = serde_json::from_value(claim.clone()).unwrap();
        plan_claim(&ObservedClaim {
            claim: &claim,
            volumes: &parsed::<PersistentVolume>(&self.volumes),
            classes: &parsed::<StorageClass>(&self.classes),
            nodes: &parsed::<Node>(&self.nodes),
        })
    }

    fn volume_plan(&self, index: usize) -> Plan {
        let volume: PersistentVolume = serde_json::from_value(self.volumes[index].clone()).unwrap();
        let claim = self.claim.as_ref().filter(|claim| {
            let named = volume.spec.claim_ref.as_ref();
            named.is_some_and(|reference| claim["metadata"]["name"] == *reference.name)
        });
        let claim: Option<PersistentVolumeClaim> =
            claim.map(|claim| serde_json::from_value(claim.clone()).unwrap());
        plan_volume(&ObservedVolume {
            volume: &volume,
            claim: claim.as_ref(),
            now: "2026-11-24T00:00:00Z".parse().unwrap(),
        })
    }

    fn volume(&mut self, name: &str) -> &mut Value {
        self.volumes.iter_mut().find(|volume| volume["metadata"]["name"] == name).expect("a volume")
    }

    fn apply(&mut self, plan: Plan) {
        self.told.extend(plan.told.map(|told| told.reason));
        for action in plan.actions {
            match action {
                Action::PatchVolume { name, patch } | Action::PatchVolumeStatus { name, patch } => {
                    merge(self.volume(&name), patch);
                }
                Action::PatchClaim(patch) | Action::PatchClaimStatus(patch) => {
                    merge(self.claim.as_mut().expect("a claim"), patch);
                }
                Action::CreateVolume(volume) => {
                    let mut volume = *volume;
                    volume["metadata"]["uid"] = json!("made");
                    volume["status"] = json!({"phase": "Pending"});
                    self.volumes.push(volume);
                }
                Action::DeleteVolume { name, uid } => {
                    assert_eq!(self.volume(&name)["metadata"]["uid"], uid);
                    self.volumes.retain(|volume| volume["metadata"]["name"] != name);
                }
            }
        }
    }

    /// Looks at everything until there is nothing to do.
    #[track_caller]
    fn settle(&mut self) {
        for _ in 0..20 {
            let before = (self.claim.clone(), self.volumes.clone());
            let plan = self.claim_plan();
            self.apply(plan);
            let mut index = 0;
            while index < self.volumes.len() {
                let (plan, count) = (self.volume_plan(index), self.volumes.len());
                self.apply(plan);
                index += usize::from(self.volumes.len() == count);
            }
            if before == (self.claim.clone(), self.volumes.clone()) {
                assert!(self.claim_plan().actions.is_empty(), "{:?}", self.claim_plan());
                return;
            }
        }
        panic!("it never ends: {:#?} {:#?}", self.claim, self.volumes);
    }

    fn phases(&self) -> String {
        let phase = |value: &Value| value["status"]["phase"].as_str().unwrap_or_default().to_owned();
        let volumes: Vec<String> = self
            .volumes
            .iter()
            .map(|volume| format!("{}={}", volume["metadata"]["name"].as_str().unwrap(), phase(volume)))
            .collect();
        let claim = self.claim.as_ref().map(|claim| {
            let volume = claim["spec"]["volumeName"].as_str().unwrap_or("-");
            format!("{}:{volume}", phase(claim))
        });
        format!("{} {}", claim.unwrap_or_default(), volumes.join(" ")).trim().to_owned()
    }
}

#[track_caller]
fn check(claim: Value, volumes: Vec<Value>, expected: &str) -> World {
    let mut world = World::new(Some(claim), volumes);
    world.settle();
    assert_eq!(world.phases(), expected);
    world
}

#[test]
fn a_claim_gets_the_smallest_volume_that_fits() {
    let volumes = vec![
        volume("huge", "50Gi", json!({})),
        volume("small", "1Gi", json!({})),
        volume("fits", "8Gi", json!({"status": {"phase": "Pending"}})),
        volume("classy", "5Gi", json!({"spec": {"storageClassName": "other"}})),
        volume("block", "5Gi", json!({"spec": {"volumeMode": "Block"}})),
        volume("shared", "5Gi", json!({"spec": {"accessModes": ["ReadOnlyMany"]}})),
        volume("going", "5Gi", json!({"metadata": {"deletionTimestamp": "2026-11-24T00:00:00Z"}})),
    ];
    let mut world = World::new(Some(claim(json!({}))), volumes);
    // What is new becomes available first.
    world.apply(world.volume_plan(2));
    world.settle();
    assert!(world.phases().starts_with("Bound:fits"), "{}", world.phases());
    let fits = world.volume("fits").clone();
    assert_eq!(fits["spec"]["claimRef"]["uid"], "c1");
    assert_eq!(fits["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"], "yes");
    let claim = world.claim.unwrap();
    assert_eq!(claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"], "yes");
    assert_eq!(claim["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"], "yes");
    assert_eq!(claim["status"]["capacity"]["storage"], "8Gi");
    assert_eq!(claim["status"]["accessModes"], json!(["ReadWriteOnce"]));
}

#[test]
fn labels_choose_among_volumes() {
    let selecting = claim(json!({"spec": {"selector": {"matchLabels": {"disk": "fast"}}}}));
    let fast = volume("fast", "9Gi", json!({"metadata": {"labels": {"disk": "fast"}}}));
    check(selecting, vec![volume("slow", "5Gi", json!({})), fast], "Bound:fast slow=Available fast=Bound");
}

#[test]
fn what_names_each_other_is_bound() {
    let naming = claim(json!({"spec": {"volumeName": "b"}}));
    let set_aside = json!({"spec": {"claimRef": {"namespace": "shop", "name": "data"}}});
    let taken = json!({"spec": {"claimRef": {"namespace": "shop", "name": "other", "uid": "c9"}}});
    let both = || vec![volume("a", "5Gi", json!({})), volume("b", "9Gi", json!({}))];
    let world = check(naming.clone(), both(), "Bound:b a=Available b=Bound");
    let annotations = world.claim.unwrap()["metadata"]["annotations"].clone();
    assert!(
        annotations.get("pv.kubernetes.io/bound-by-controller").is_none(),
        "the user chose: {annotations}"
    );
    let mut volumes = both();
    merge(&mut volumes[1], set_aside.clone());
    check(claim(json!({})), volumes, "Bound:b a=Available b=Bound");
    let mut volumes = both();
    merge(&mut volumes[1], taken);
    let world = check(naming.clone(), volumes, "Pending:b a=Available b=Released");
    assert!(world.told.contains(&"FailedBinding"));
    let world = check(naming, vec![volume("b", "1Gi", json!({}))], "Pending:b b=Available");
    assert!(world.told.contains(&"VolumeMismatch"));
    check(claim(json!({"spec": {"volumeName": "gone"}})), vec![], "Pending:gone");
}

#[test]
fn a_claim_without_a_class_gets_the_default_and_waits_for_its_pod() {
    let open = claim(json!({"spec": {"storageClassName": null}}));
    let mut world = check(open, vec![], "Pending:-");
    assert_eq!(world.claim.as_ref().unwrap()["spec"]["storageClassName"], "standard");
    assert_eq!(world.told.last(), Some(&"WaitForFirstConsumer"));
    merge(
        world.claim.as_mut().unwrap(),
        json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}}),
    );
    world.settle();
    assert_eq!(world.phases(), "Bound:pvc-c1 pvc-c1=Bound");
    let made = world.volume("pvc-c1").clone();
    assert_eq!(made["spec"]["local"]["path"], "/data/volumes/pvc-c1");
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    assert_eq!(
        made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"],
        json!(["n1"])
    );
    // It grows with its claim.
    merge(world.claim.as_mut().unwrap(), json!({"spec": {"resources": {"requests": {"storage": "7Gi"}}}}));
    world.settle();
    assert_eq!(world.volume("pvc-c1")["spec"]["capacity"]["storage"], "7Gi");
    assert_eq!(world.claim.as_ref().unwrap()["status"]["capacity"]["storage"], "7Gi");
    // And goes with it.
    world.claim = None;
    world.settle();
    assert_eq!(world.phases(), "");
}

#[test]
fn a_node_without_room_is_given_back_to_the_scheduler() {
    let selected = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n2"}},
        "spec": {"storageClassName": "standard"}});
    let world = check(claim(selected), vec![], "Pending:-");
    let annotations = &world.claim.unwrap()["metadata"]["annotations"];
    assert!(annotations.get("volume.kubernetes.io/selected-node").is_none(), "{annotations}");
    assert!(world.told.contains(&"ProvisioningFailed"));
}

#[test]
fn each_class_says_who_makes_its_volumes() {
    let of = |class: &str| claim(json!({"spec": {"storageClassName": class}}));
    check(of("now"), vec![], "Bound:pvc-c1 pvc-c1=Bound");
    let world = check(of("other"), vec![], "Pending:-");
    let claim = world.claim.unwrap();
    let annotations = &claim["metadata"]["annotations"];
    assert_eq!(annotations["volume.kubernetes.io/storage-provisioner"], "example.com/disk");
    assert_eq!(world.told.last(), Some(&"ExternalProvisioning"));
    let world = check(of("unknown"), vec![], "Pending:-");
    assert_eq!(world.told.last(), Some(&"ProvisioningFailed"));
    let world = check(of(""), vec![], "Pending:-");
    assert_eq!(world.told.last(), Some(&"FailedBinding"));
}

#[test]
fn the_reclaim_policy_decides_what_becomes_of_a_volume() {
    let bound = json!({"spec": {"claimRef": {"namespace": "shop", "name": "data", "uid": "c1"}},
        "status": {"phase": "Bound"}});
    for (policy, maker, expected) in [
        ("Retain", None, "v=Released"),
        ("Retain", Some(provision::NODE_LOCAL), "v=Released"),
        ("Delete", Some(provision::NODE_LOCAL), ""),
        ("Delete", Some("example.com/disk"), "v=Released"),
        ("Delete", None, "v=Failed"),
        ("Recycle", None, "v=Failed"),
    ] {
        let mut volume = volume("v", "5Gi", bound.clone());
        volume["spec"]["persistentVolumeReclaimPolicy"] = json!(policy);
        if let Some(maker) = maker {
            volume["metadata"]["annotations"] = json!({crate::objects::PROVISIONED_BY: maker});
        }
        let mut world = World::new(None, vec![volume.clone()]);
        world.settle();
        assert_eq!(world.phases(), expected, "{policy} {maker:?}");
        // A claim of the same name made anew is another one.
        let mut world = World::new(Some(claim(json!({"metadata": {"uid": "c2"}}))), vec![volume]);
        world.settle();
        assert_eq!(world.phases(), format!("Pending:- {expected}").trim(), "{policy} {maker:?}");
    }
}

#[test]
fn a_claim_that_has_lost_its_volume_says_so_and_one_that_is_bound_elsewhere_frees_it() {
    let bound = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}});
    let world = check(claim(bound.clone()), vec![], "Lost:v");
    assert_eq!(world.told, ["ClaimLost"]);
    let taken = json!({"spec": {"claimRef": {"namespace": "shop", "name": "other", "uid": "c9"}}});
    let world = check(claim(bound.clone()), vec![volume("v", "5Gi", taken)], "Lost:v v=Released");
    assert_eq!(world.told, ["ClaimMisbound"]);
    let of = |more: Value| {
        let mut volume = volume(
            "w",
            "5Gi",
            json!({"spec": {"claimRef":
            {"namespace": "shop", "name": "data", "uid": "c1"}}, "status": {"phase": "Bound"}}),
        );
        merge(&mut volume, more);
        vec![super::tests::volume("v", "5Gi", json!({})), volume]
    };
    let by_us = json!({"metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}});
    let mut world = check(claim(bound.clone()), of(by_us), "Bound:v v=Bound w=Available");
    assert!(world.volume("w")["spec"].get("claimRef").is_none());
    let mut world = check(claim(bound), of(json!({})), "Bound:v v=Bound w=Available");
    assert_eq!(world.volume("w")["spec"]["claimRef"], json!({"namespace": "shop", "name": "data"}));
}

proptest! {
    #[test]
    fn binding_always_ends_and_no_volume_is_for_two(
        sizes in prop::collection::vec(1u32..20, 0..6),
        wanted in 1u32..20,
        class in prop::sample::select(vec![None, Some(""), Some("now"), Some("other")]),
        aside in prop::option::of(0usize..6),
        gone in any::<bool>(),
    ) {
        let mut volumes: Vec<Value> = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| volume(&format!("v{index}"), &format!("{size}Gi"), json!({})))
            .collect();
        if let Some(volume) = aside.and_then(|index| volumes.get_mut(index)) {
            volume["spec"]["claimRef"] = json!({"namespace": "shop", "name": "data"});
        }
        let claim = claim(json!({"spec": {
            "storageClassName": class, "resources": {"requests": {"storage": format!("{wanted}Gi")}},
        }}));
        let mut world = World::new(Some(claim), volumes);
        world.settle();
        let claim = world.claim.clone().unwrap();
        let name = claim["spec"]["volumeName"].as_str();
        let holders = world.volumes.iter().filter(|volume| volume["spec"]["claimRef"]["uid"] == "c1").count();
        prop_assert_eq!(holders, usize::from(name.is_some()));
        prop_assert_eq!(claim["status"]["phase"] == "Bound", name.is_some());
        if class == Some("") && sizes.iter().any(|size| *size >= wanted) {
            prop_assert!(name.is_some() || aside.is_some());
        }
        if gone {
            world.claim = None;
            world.settle();
            let bound = world.volumes.iter().any(|volume| volume["status"]["phase"] == "Bound");
            prop_assert!(!bound);
        }
    }
}

"""What a user of Python's client does: typed objects, watches, patches, server-side apply, the dynamic client."""

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except ApiException as error:
        assert error.status == code, (error.status, error.body)
        return error
    raise AssertionError(f"not refused with {code}")


def meta(name, **more):
    return client.V1ObjectMeta(name=name, **more)


assert client.VersionApi().get_code().git_version.startswith("v1.")
core.create_namespace(client.V1Namespace(metadata=meta("work")))
refused(409, core.create_namespace, client.V1Namespace(metadata=meta("work")))

# There are no controllers here that would make it.
core.create_namespaced_service_account("work", client.V1ServiceAccount(metadata=meta("default")))

# Config maps: every verb.
for i in range(5):
    core.create_namespaced_config_map("work", client.V1ConfigMap(metadata=meta(f"m{i}", labels={"app": "x"}), data={"i": str(i)}))
page = core.list_namespaced_config_map("work", label_selector="app=x", limit=2)
seen = [item.metadata.name for item in page.items]
while page.metadata._continue:
    page = core.list_namespaced_config_map("work", label_selector="app=x", limit=2, _continue=page.metadata._continue)
    seen += [item.metadata.name for item in page.items]
assert seen == [f"m{i}" for i in range(5)], seen
found = core.read_namespaced_config_map("m0", "work")
found.data["i"] = "changed"
core.replace_namespaced_config_map("m0", "work", found)
refused(409, core.replace_namespaced_config_map, "m0", "work", found)
patched = core.patch_namespaced_config_map("m0", "work", {"data": {"j": "1"}})
assert patched.data == {"i": "changed", "j": "1"}, patched.data
patched = core.patch_namespaced_config_map("m0", "work", [{"op": "remove", "path": "/data/j"}])
assert patched.data == {"i": "changed"}, patched.data
error = refused(422, core.create_namespaced_config_map, "work", client.V1ConfigMap(metadata=meta("Bad_Name")))
assert "a lowercase RFC 1123 subdomain" in error.body

# A watch from a known version sees what came after it, in order.
version = core.list_namespaced_config_map("work").metadata.resource_version
core.create_namespaced_config_map("work", client.V1ConfigMap(metadata=meta("w")))
core.patch_namespaced_config_map("w", "work", {"data": {"a": "b"}})
core.delete_namespaced_config_map("w", "work")
events = []
for event in watch.Watch().stream(core.list_namespaced_config_map, "work", resource_version=version, timeout_seconds=20):
    events.append((event["type"], event["object"].metadata.name))
    if event["type"] == "DELETED":
        break
assert events == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")], events

# Workloads, with what they have beside their verbs.
labels = {"app": "web"}
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=labels),
    spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="nginx", ports=[client.V1ContainerPort(container_port=80)])]),
)
spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template)
made = apps.create_namespaced_deployment("work", client.V1Deployment(metadata=meta("web"), spec=spec))
assert made.spec.strategy.rolling_update.max_surge == "25%"
apps.patch_namespaced_deployment_scale("web", "work", {"spec": {"replicas": 4}})
assert apps.read_namespaced_deployment_scale("web", "work").spec.replicas == 4
status = apps.patch_namespaced_deployment_status("web", "work", {"status": {"replicas": 4}})
assert status.status.replicas == 4 and status.spec.replicas == 4
error = refused(422, apps.patch_namespaced_deployment, "web", "work", {"spec": {"selector": {"matchLabels": {"app": "y"}}}})
assert "field is immutable" in error.body
job = client.V1Job(metadata=meta("j"), spec=client.V1JobSpec(template=client.V1PodTemplateSpec(
    spec=client.V1PodSpec(restart_policy="Never", containers=[client.V1Container(name="c", image="x")]))))
assert batch.create_namespaced_job("work", job).spec.completions == 1
service = core.create_namespaced_service("work", client.V1Service(
    metadata=meta("web"), spec=client.V1ServiceSpec(selector=labels, ports=[client.V1ServicePort(port=80)])))
assert service.spec.cluster_ip.startswith("10.")

# Pods: dry run, eviction, and a log that nobody has.
pod = client.V1Pod(metadata=meta("p"), spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="nginx")]))
core.create_namespaced_pod("work", pod, dry_run="All")
refused(404, core.read_namespaced_pod, "p", "work")
core.create_namespaced_pod("work", pod)
assert core.read_namespaced_pod("p", "work").status.phase == "Pending"
core.create_namespaced_pod_eviction("p", "work", client.V1Eviction(metadata=meta("p")))
refused(404, core.read_namespaced_pod, "p", "work")

# Whoever asks may ask what it may do.
review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
    resource_attributes=client.V1ResourceAttributes(verb="create", resource="pods", namespace="work")))
assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed

# Without types: discovery, server-side apply with conflicts, and a kind of our own.
untyped = dynamic.DynamicClient(client.ApiClient())
maps = untyped.resources.get(api_version="v1", kind="ConfigMap")
manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1"}}
untyped.server_side_apply(maps, body=manifest, name="applied", namespace="work", field_manager="one")
manifest["data"]["a"] = "2"
refused(409, untyped.server_side_apply, maps, body=manifest, name="applied", namespace="work", field_manager="two")
taken = untyped.server_side_apply(maps, body=manifest, name="applied", namespace="work", field_manager="two", force_conflicts=True)
assert taken.data["a"] == "2"
schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}
client.ApiextensionsV1Api().create_custom_resource_definition({
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example"},
    "spec": {"group": "sea.example", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]}})
custom = client.CustomObjectsApi()
boat = {"apiVersion": "sea.example/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"size": 8, "unknown": 1}}
made = custom.create_namespaced_custom_object("sea.example", "v1", "work", "boats", boat)
assert made["spec"] == {"size": 8}, made
boats = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="sea.example/v1", kind="Boat")
assert [item.metadata.name for item in boats.get(namespace="work").items] == ["b"]

# All of them at once, and the rest by its namespace.
core.delete_collection_namespaced_config_map("work", label_selector="app=x")
left = [item.metadata.name for item in core.list_namespaced_config_map("work").items]
assert "m1" not in left and "applied" in left, left
core.delete_namespace("work")
assert core.read_namespace("work").status.phase == "Terminating"

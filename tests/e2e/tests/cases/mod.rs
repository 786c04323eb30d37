//! All cases.

use crate::{Case, case};

mod bad_input;
mod cox;
mod disk;
mod extend;
mod faults;
mod history;
mod identity;
mod kubectl;
mod node;
mod pods;
mod rollout;
mod services;
mod streams;
mod usage;
mod volumes;

/// Those that may run beside each other.
pub fn all() -> Vec<Case> {
    vec![
        case!(services::the_old_manifest_runs_unchanged),
        case!(services::todays_manifest_answers_on_both_services),
        case!(services::a_service_without_endpoints_refuses_at_once),
        case!(services::datagrams_are_spread_and_clients_stay_where_they_are),
        case!(rollout::scale_up_and_down),
        case!(rollout::a_new_image_rolls_over_without_a_failed_request),
        case!(rollout::history_undo_pause_and_resume),
        case!(rollout::deleting_a_deployment_removes_what_it_owned),
        case!(rollout::a_replication_controller_works_as_in_the_old_days),
        case!(pods::a_killed_container_is_started_again),
        case!(pods::a_failing_liveness_probe_restarts_the_container),
        case!(pods::a_deleted_pod_is_replaced),
        case!(pods::a_bad_image_is_told_and_backed_off),
        case!(pods::a_pod_ends_by_its_exit_codes),
        case!(pods::configuration_comes_in_by_environment_and_files),
        case!(kubectl::logs_watch_and_describe),
        case!(kubectl::an_old_kubectl_works_too),
        case!(streams::a_command_in_a_container_is_as_one_beside_it),
        case!(streams::a_command_ends_with_its_client),
        case!(streams::files_are_copied_both_ways),
        case!(streams::the_first_process_is_joined),
        case!(streams::ports_are_forwarded),
        case!(streams::cox_speaks_with_processes_and_ports_too),
        case!(streams::pods_and_services_answer_through_the_apiserver),
        case!(cox::every_verb),
        case!(cox::daemons_keep_nothing_open_of_who_started_them),
        case!(disk::full_it_takes_no_writes_and_goes_on_when_there_is_space),
        case!(history::the_past_is_read_with_kubectl_and_cox),
        case!(history::a_namespace_comes_back_and_works),
        case!(extend::a_custom_resource_is_as_good_as_a_built_in_one),
        case!(identity::roles_decide_and_tokens_prove),
        case!(identity::namespaces_have_limits),
        case!(volumes::a_stateful_set_finds_its_data_again),
        case!(volumes::a_debug_container_joins_a_pod),
        case!(bad_input::nothing_is_stored_and_the_reason_is_told),
        case!(usage::kubectl_top_shows_what_nodes_and_containers_use),
        case!(usage::pods_have_groups_by_their_class_and_leave_none),
        case!(usage::who_takes_too_much_memory_or_disk_is_ended_and_told_why),
        case!(usage::a_running_container_is_given_more),
        case!(usage::images_are_pulled_with_the_accounts_of_the_pod),
        case!(node::a_claim_of_the_default_class_keeps_what_pods_write),
        case!(node::what_is_secret_is_in_memory_only_and_gone_with_its_pod),
        case!(node::a_pod_of_the_nodes_own_folder_is_mirrored),
        case!(node::a_sidecar_is_there_before_and_after_the_work),
        case!(node::a_class_without_a_runtime_is_told),
        case!(node::an_image_is_a_volume),
    ]
}

/// Those that stop what others need.
pub fn faults() -> Vec<Case> {
    vec![
        case!(faults::every_daemon_may_be_killed_while_it_works),
        case!(faults::a_kubelet_finds_its_pods_again),
        case!(faults::without_docker_a_node_is_not_ready_and_pods_come_back_with_it),
        case!(faults::nothing_is_left_of_pods_that_came_and_went_among_faults),
        case!(history::a_cluster_comes_back_from_a_backup),
        case!(faults::up_twice_changes_nothing_and_down_leaves_nothing),
    ]
}

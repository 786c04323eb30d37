//! The projection of CustomResourceDefinition: which resources there are beside the built-in ones, without schemas.

use serde::{Deserialize, Serialize};

use api::meta::{Condition, ObjectMeta};
use client::resource;

/// `apiextensions.k8s.io/v1/CustomResourceDefinition`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomResourceDefinition {
    pub metadata: ObjectMeta,
    pub spec: CustomResourceDefinitionSpec,
    pub status: CustomResourceDefinitionStatus,
}
resource!(
    CustomResourceDefinition,
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    cluster
);

/// `apiextensions.k8s.io/v1/CustomResourceDefinitionSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomResourceDefinitionSpec {
    pub group: String,
    pub scope: String,
    pub names: CustomResourceDefinitionNames,
    pub versions: Vec<CustomResourceDefinitionVersion>,
}

/// `apiextensions.k8s.io/v1/CustomResourceDefinitionNames`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomResourceDefinitionNames {
    pub plural: String,
    pub kind: String,
}

/// `apiextensions.k8s.io/v1/CustomResourceDefinitionVersion`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomResourceDefinitionVersion {
    pub name: String,
    pub served: bool,
    pub storage: bool,
}

/// `apiextensions.k8s.io/v1/CustomResourceDefinitionStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomResourceDefinitionStatus {
    /// `null` in a definition that was made just now.
    pub conditions: Option<Vec<Condition>>,
}

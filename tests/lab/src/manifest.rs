//! Manifests as users write them, for tests that need one more.

/// An IPAddressPool; `addresses` separated by commas.
pub fn pool(name: &str, addresses: &str) -> String {
    configuration("IPAddressPool", name, &format!("addresses: [{addresses}]"))
}

/// An L2Advertisement of all pools, from all nodes.
pub fn l2_advertisement(name: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n\
         metadata: {{name: {name}, namespace: metallb-system}}\n"
    )
}

/// A BGPPeer; `spec` in flow style, without the braces.
pub fn bgp_peer(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\n\
         metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{{spec}}}\n"
    )
}

/// An object of one of the kinds of version v1beta1; `spec` in flow style, without the braces.
pub fn configuration(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{{spec}}}\n"
    )
}

/// A Node; `labels` as in a YAML flow mapping.
pub fn node(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

/// A Service of type LoadBalancer in the namespace `default`, labelled `app` with its name; `spec` adds to its specification.
pub fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\n\
         metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}\n\
         spec: {{type: LoadBalancer, {spec}}}\n"
    )
}

/// An EndpointSlice of a Service with ready endpoints, each an address and its node; `ports` as in a YAML flow sequence.
pub fn endpoint_slice(
    service: &str,
    family: &str,
    endpoints: &[(String, &str)],
    ports: &str,
) -> String {
    let endpoint = |(address, node): &(String, &str)| {
        format!("{{addresses: ['{address}'], nodeName: {node}, conditions: {{ready: true}}}}")
    };
    let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {service}-{}, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: {family}\nendpoints: [{}]\nports: [{ports}]\n",
        family.to_lowercase(),
        endpoints.join(", ")
    )
}

/// Documents of one file.
pub fn file(documents: &[String]) -> String {
    documents.join("---\n")
}

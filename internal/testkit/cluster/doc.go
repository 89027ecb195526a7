// Package cluster makes whole Kubernetes clusters on one machine without a container engine, one for each
// region: etcd, API server, controllers, scheduler, a node with kubelet, containerd and kube-proxy, and DNS,
// in a network namespace of its own behind a router. A region can be killed as a city is lost, cut off from
// the others while its users still reach it, and brought back on its data.
//
// It is for tests only, needs root, and must run inside of Main: nothing that it makes outlives the test,
// and nothing reaches this machine's network.
package cluster

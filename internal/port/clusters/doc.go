// Package clusters connects the hub to the regions' Kubernetes API servers: one small client and
// cache per region, engaged in the background from a kubeconfig, given up when the API server
// stops answering and engaged anew when it answers again.
//
// It must never block its callers on a cluster that does not answer, let one cluster delay
// another, run a program or read a file that a kubeconfig names, or put a credential into an error.
package clusters

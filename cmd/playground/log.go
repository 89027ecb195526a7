package main

import (
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// klogTo sends what the Kubernetes libraries log to the playground's log: a killed API server is no
// news to the person who watches the demo.
func klogTo(log *slog.Logger) {
	logger := logr.FromSlogHandler(log.Handler())
	klog.SetLogger(logger)
	ctrl.SetLogger(logger)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/member/acting"
	"multiactive.dev/operator/controllers/member/handover"
	"multiactive.dev/operator/controllers/member/peercerts"
	"multiactive.dev/operator/controllers/member/regionalservice"
	"multiactive.dev/operator/controllers/member/replicationlink"
	"multiactive.dev/operator/controllers/member/storelink"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/kafkasecret"
	"multiactive.dev/operator/internal/linkindex"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/pace"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/store/engines"
	"multiactive.dev/operator/internal/storehealth"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/storeposition"
)

// memberOptions are the flags of --mode=member, and of --mode=peer.
type memberOptions struct {
	common commonOptions

	region       string
	agentAddress string
	agentURL     string
	gatewayImage string
	gatewayArgs  []string
	peers        ownca.Lifetimes
	mirrorImage  string
	// mirrorMakerImage is empty where no dedicated MirrorMaker is to run.
	mirrorMakerImage string
	// podName and podNamespace come from the environment; empty when not in a Pod.
	podName, podNamespace string
}

func (o *memberOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.region, "region", "", "member, peer: name of the region that this cluster is (required)")
	fs.StringVar(&o.agentAddress, "agent-bind-address", ":8090",
		"member, peer: address that serves routing to the region's gateways; keep it inside the cluster, routing carries secrets")
	fs.StringVar(&o.agentURL, "agent-url", "",
		"member, peer: that address as gateways dial it (default http://multiactive-agent.<operator-namespace>.svc:8090)")
	fs.StringVar(&o.gatewayImage, "gateway-image", "", "member, peer: image with /gateway for the services' gateways (required)")
	fs.Func("gateway-arg", "member, peer: one more `argument` for every gateway, such as --access-log or --trace-endpoint=URL; may be repeated", o.addGatewayArg)
	fs.DurationVar(&o.peers.Certificate, "peer-certificate-lifetime", ownca.DefaultCertificate,
		"member, peer: lifetime of the certificates that gateways show those of other regions; they are renewed after half of it")
	fs.DurationVar(&o.peers.Authority, "peer-authority-lifetime", ownca.DefaultAuthority,
		"member, peer: lifetime of the region's authority that issues them, at least six times theirs; its successor is made after two thirds of it")
	o.podName, o.podNamespace = os.Getenv("POD_NAME"), os.Getenv("POD_NAMESPACE")
	fs.StringVar(&o.mirrorImage, "mirror-image", "", "member, peer: image with /mirror for the mirrors (default: --gateway-image)")
	fs.StringVar(&o.mirrorMakerImage, "mirrormaker-image", "",
		"member, peer: image with Apache Kafka under /opt/kafka for the mirrors of Regions whose kafka.mirrors.engine is MirrorMaker2 and that Strimzi does not manage")
}

// operatorsArgs are the gateway's flags that the operator gives.
var operatorsArgs = []string{
	"agent", "namespace", "name", "listen", "admin-listen", "peer-listen", "peer-tls-dir", "secret-dir", "deferred-topic", "kafka-brokers", "kafka-auth",
}

func (o *memberOptions) addGatewayArg(arg string) error {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	switch {
	case !strings.HasPrefix(arg, "-") || name == "":
		return errors.New("it is no flag of a gateway, such as --access-log")
	case slices.Contains(operatorsArgs, name):
		return fmt.Errorf("the operator gives --%s to every gateway itself", name)
	}
	o.gatewayArgs = append(o.gatewayArgs, arg)
	return nil
}

// complete checks the flags and fills in the defaults that depend on others.
func (o *memberOptions) complete() error {
	if o.region == "" {
		return errors.New("--region is required: the name of the Region object that this cluster is")
	}
	if o.gatewayImage == "" {
		return errors.New("--gateway-image is required: the image that services' gateways run")
	}
	if o.mirrorImage == "" {
		o.mirrorImage = o.gatewayImage
	}
	if o.agentURL == "" {
		o.agentURL = "http://multiactive-agent." + o.common.operatorNamespace + ".svc:8090"
	}
	if u, err := url.Parse(o.agentURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--agent-url=%s is not an http or https URL with a host", o.agentURL)
	}
	if err := o.peers.Check(); err != nil {
		return fmt.Errorf("--peer-certificate-lifetime, --peer-authority-lifetime: %w", err)
	}
	return nil
}

// process says where a person finds this process.
func (o *memberOptions) process() string {
	host, _ := os.Hostname() // only a name to show
	return cmp.Or(o.podName, host)
}

// memberCache bounds what the member keeps in memory: of most kinds the operator's own objects
// alone. Deployments and Services are there in full, because workloads may refer to others'.
func memberCache() map[client.Object]cache.ByObject {
	ours := labels.SelectorFromSet(labels.Set{regional.LabelManagedBy: regional.ManagedBy})
	parts, err := labels.NewRequirement(regional.LabelComponent, selection.Exists, nil)
	if err != nil {
		panic("manager: the selector of our own Pods is wrong: " + err.Error())
	}
	return map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}:                      {Label: ours},
		&policyv1.PodDisruptionBudget{}:          {Label: ours},
		&networkingv1.NetworkPolicy{}:            {Label: ours},
		&autoscalingv2.HorizontalPodAutoscaler{}: {Label: ours},
		&corev1.Pod{}:                            {Label: labels.NewSelector().Add(*parts)},
	}
}

// member is what setupMember has made.
type member struct {
	store  *coordination.Store
	health *storehealth.Monitor
	agent  *agent.Agent
}

// setupMember adds the region's agent and its controllers to the manager.
func setupMember(ctx context.Context, mgr ctrl.Manager, o memberOptions) (member, error) {
	if err := o.complete(); err != nil {
		return member{}, err
	}
	timings := o.common.timed()
	known, err := storeposition.Load(ctx, mgr.GetAPIReader(), o.common.operatorNamespace)
	if err != nil {
		return member{}, err
	}
	place, err := storeposition.Place(ctx, mgr.GetAPIReader(), mgr.GetClient(), o.common.operatorNamespace)
	if err != nil {
		return member{}, err
	}
	store, err := o.common.connectStore(known.Position, known.Restored)
	if err != nil {
		return member{}, err
	}
	machine := agent.SystemClock()
	local := &handover.Region{Name: o.region, Client: mgr.GetClient()}
	regionAgent, err := agent.New(agent.Config{
		Region: o.region, Store: store, Clock: machine, Timings: timings, Prober: agent.NewProber(), Local: local, Log: ctrl.Log.WithName("agent"),
		AboveEpoch: known.AboveEpoch, RevisionBase: known.RevisionBase, Epoch: known.Epoch, Ballots: o.common.mode == modePeer,
		Place: place, Process: o.process(), Pod: o.common.podUID, Alone: o.common.leaderElect,
	})
	if err != nil {
		return member{}, err
	}
	options := o.regional()
	credentials := func(ctx context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) {
		return kafkasecret.Options(ctx, mgr.GetAPIReader(), o.common.operatorNamespace, k)
	}
	topics := newTopicKeeper(mgr, credentials, machine)
	canaries := replicationlink.NewCanaries(o.region, machine, ctrl.Log.WithName("canaries"))
	local.Credentials, local.Canary, local.Snapshot = credentials, canaries.Read, regionAgent.Snapshot
	own, err := actingPod(ctx, mgr, o)
	if err != nil {
		return member{}, err
	}
	position := &storeposition.Keeper{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: o.common.operatorNamespace, Store: store, Clock: machine,
		Started: known, RegionLease: timings.RegionLease, Log: ctrl.Log.WithName("coordination"),
		Epoch: func() int64 { c, _ := regionAgent.Snapshot(); return c.View.Epoch },
	}
	health := &storehealth.Monitor{Store: store, Clock: machine, Log: ctrl.Log.WithName("coordination")}
	position.Trouble = troubles(regionAgent.Trouble, health.Trouble)
	parts := []manager.Runnable{
		closing(store), health, position, settled(position, regionAgent), agentServer{o.agentAddress, regionAgent.Handler(regionAgent.Publisher())},
		topics, canaries,
	}
	for _, part := range append(parts, own...) {
		if err := mgr.Add(part); err != nil {
			return member{}, fmt.Errorf("adding a part of the member: %w", err)
		}
	}
	pacer := pace.New(machine, regionAgent.Snapshot)
	pacer.Signs = regionAgent.Signs
	certificates, err := addPeerCertificates(mgr, o, regionAgent, machine)
	if err != nil {
		return member{}, err
	}
	stores, err := addStores(mgr, storelink.Reconciler{Options: options, Agent: regionAgent, Pace: pacer}, regionAgent, timings.RegionLease)
	if err != nil {
		return member{}, err
	}
	local.Stores = stores.Keepers
	services := &regionalservice.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Impersonate: impersonator(mgr), Options: options,
		Agent: regionAgent, Publisher: regionAgent.Publisher(), Topics: topics, Canaries: canaries, Stores: stores.Keepers,
		Recorder: mgr.GetEventRecorder("multiactive-member"), Clock: machine, LeaseSettles: timings.RegionLease, Pace: pacer,
		PeerCertificates: certificates,
	}
	if err := services.SetupWithManager(ctx, mgr, machine, topics.Changed(), certificates.Changed(), stores.Changed()); err != nil {
		return member{}, fmt.Errorf("adding the controller of regional services: %w", err)
	}
	links := &replicationlink.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Credentials: credentials, Options: options, Agent: regionAgent, Canaries: canaries, Pace: pacer,
	}
	if err := addLinks(ctx, mgr, links, machine); err != nil {
		return member{}, err
	}
	return member{store: store, health: health, agent: regionAgent}, metrics.Registry.Register(regionAgent)
}

// regional are the options of what is built for services.
func (o *memberOptions) regional() regional.Options {
	return regional.Options{
		Region: o.region, OperatorNamespace: o.common.operatorNamespace, AgentURL: o.agentURL,
		GatewayImage: o.gatewayImage, MirrorImage: o.mirrorImage, MirrorMakerImage: o.mirrorMakerImage, GatewayArgs: o.gatewayArgs,
	}
}

// newTopicKeeper returns what keeps topics, by itself or through Strimzi.
func newTopicKeeper(mgr ctrl.Manager, credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error), c clock.WithTicker) *regionalservice.TopicKeeper {
	topics := regionalservice.NewTopicKeeper(credentials, c, ctrl.Log.WithName("topics"))
	topics.Live, topics.Objects = mgr.GetAPIReader(), mgr.GetClient()
	return topics
}

// addStores adds what looks after the region's servers of stores: the controller of their links, the keepers and the fences.
func addStores(mgr ctrl.Manager, r storelink.Reconciler, regionAgent *agent.Agent, longest time.Duration) (*storelink.Reconciler, error) {
	machine := agent.SystemClock()
	r.Client, r.Live = mgr.GetClient(), mgr.GetAPIReader()
	r.Keepers = storekeeper.New(storekeeper.Config{
		Region: r.Options.Region, Clock: machine, Open: engines.Open, Lease: regionAgent.Lease, LongestLease: longest, Log: ctrl.Log.WithName("stores"),
	})
	fences := &storelink.Fences{
		Client: r.Client, Region: r.Options.Region, Agent: regionAgent, Keepers: r.Keepers, Clock: machine, Log: ctrl.Log.WithName("fences"),
	}
	links := storelink.New(r)
	for _, err := range []error{mgr.Add(r.Keepers), mgr.Add(fences), links.SetupWithManager(mgr), metrics.Registry.Register(r.Keepers)} {
		if err != nil {
			return nil, fmt.Errorf("adding what looks after stores: %w", err)
		}
	}
	return links, nil
}

// addLinks adds the controller of the region's incoming mirrors, with what it hands work to, and the canaries' metric.
func addLinks(ctx context.Context, mgr ctrl.Manager, links *replicationlink.Reconciler, machine clock.WithTicker) error {
	links.Mirrors = replicationlink.NewMirrors(mgr.GetClient(), links.Options.OperatorNamespace, machine)
	links.Transfers = replicationlink.NewTransfers(links.Credentials, machine, ctrl.Log.WithName("transfers"))
	links.Rights = replicationlink.NewRights(links.Credentials, machine, ctrl.Log.WithName("rights"))
	for _, err := range []error{linkindex.Add(ctx, mgr.GetFieldIndexer()), mgr.Add(links.Mirrors), mgr.Add(links.Transfers), mgr.Add(links.Rights), links.SetupWithManager(mgr)} {
		if err != nil {
			return fmt.Errorf("adding the controller of replication links: %w", err)
		}
	}
	if err := metrics.Registry.Register(links.Canaries); err != nil {
		return fmt.Errorf("registering the metric of the links' lag: %w", err)
	}
	return nil
}

// addPeerCertificates adds what issues the certificates that the region's gateways show those of others.
func addPeerCertificates(mgr ctrl.Manager, o memberOptions, regionAgent *agent.Agent, c clock.WithTicker) (*peercerts.Reconciler, error) {
	keeper := peercerts.NewKeeper()
	keeper.Client, keeper.Reader, keeper.Namespace, keeper.Region = mgr.GetClient(), mgr.GetAPIReader(), o.common.operatorNamespace, o.region
	keeper.Agent, keeper.Clock, keeper.Lifetimes, keeper.Log = regionAgent, c, o.peers, ctrl.Log.WithName("peercerts")
	r := peercerts.NewReconciler(mgr.GetClient(), mgr.GetAPIReader(), keeper)
	if err := r.SetupWithManager(mgr); err != nil {
		return nil, fmt.Errorf("adding the controller of the gateways' certificates: %w", err)
	}
	return r, nil
}

// troubles joins what several parts say of the store.
func troubles(all ...func() string) func() string {
	return func() string {
		var out []string
		for _, trouble := range all {
			if text := trouble(); text != "" {
				out = append(out, text)
			}
		}
		return strings.Join(out, "; ")
	}
}

// settled runs the agent once what the process has started with is found to hold still: it may have waited
// long for its turn.
func settled(position *storeposition.Keeper, regionAgent *agent.Agent) manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		if err := position.Settle(ctx); err != nil {
			return err
		}
		return regionAgent.Run(ctx)
	})
}

// actingPod returns what marks the Pod of this process while it acts, if it runs in a Pod that the
// environment names.
func actingPod(ctx context.Context, mgr ctrl.Manager, o memberOptions) ([]manager.Runnable, error) {
	if o.podName == "" {
		return nil, nil
	}
	pod := &acting.Pod{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: cmp.Or(o.podNamespace, o.common.operatorNamespace), Name: o.podName,
		Clock: clock.RealClock{}, Log: ctrl.Log.WithName("acting"),
	}
	if err := pod.Clear(ctx); err != nil {
		return nil, err
	}
	return []manager.Runnable{pod}, nil
}

// impersonator returns clients that act as service accounts. They share the manager's connections,
// and are kept: there are as many as services.
func impersonator(mgr ctrl.Manager) regionalservice.Impersonate {
	var mu sync.Mutex
	clients := map[string]client.Client{}
	return func(namespace, account string) (client.Client, error) {
		user := "system:serviceaccount:" + namespace + ":" + account
		mu.Lock()
		defer mu.Unlock()
		if c := clients[user]; c != nil {
			return c, nil
		}
		config := rest.CopyConfig(mgr.GetConfig())
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		c, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
		if err != nil {
			return nil, err
		}
		clients[user] = c
		return c, nil
	}
}

// agentServer serves the agent's HTTP interface while this process acts for the region.
type agentServer struct {
	address string
	handler http.Handler
}

// Start implements manager.Runnable.
func (s agentServer) Start(ctx context.Context) error {
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening on --agent-bind-address: %w", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("serving routing: %w", err)
	case <-ctx.Done():
		// Long polls need not end first: gateways ask again at once, of whoever comes next.
		return server.Close()
	}
}

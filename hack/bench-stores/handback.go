package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/hack/internal/crowdworld"
	"multiactive.dev/operator/internal/playground/crowd"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/testkit/mariadb"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	// datastore of the service, with a server in every region of the world.
	datastore = "orders-db"
	// longest is how long something may take in the world.
	longest = 3 * time.Minute
	// glance is how often fences are looked at.
	glance = 2 * time.Millisecond
)

// handbacks measures for how long nobody may write to slots that are handed back to their home, in a world of three regions
// whose databases are caught up.
func (p *page) handbacks(ctx context.Context, dir string) (err error) {
	bin, err := filepath.Abs(p.options.bin)
	if err != nil {
		return err
	}
	w, err := crowdworld.Start(ctx, bin, filepath.Join(dir, "world"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	nodes := map[string]*mysqltest.Node{}
	defer func() {
		for _, n := range nodes {
			n.Close()
			_ = n.Kill()
		}
	}()
	for i, region := range regions {
		settings := mysqltest.Settings(i+1, len(regions))
		if nodes[region], err = start(ctx, mariadb.Options{Name: region, Dir: filepath.Join(dir, "handback-"+region), Settings: settings}); err != nil {
			return err
		}
	}
	s := crowd.Service(0, w.Serving)
	if err := declareStore(ctx, w, nodes, s); err != nil {
		return err
	}
	slot, err := slotAtHome(ctx, nodes, s)
	if err != nil {
		return err
	}
	writing, stop := context.WithCancel(ctx)
	written := make(chan struct{})
	go func() { writeAll(writing, nodes); close(written) }()
	defer func() { stop(); <-written }()
	for n := range p.options.handbacks {
		if err := order(ctx, w, fmt.Sprintf("drain-%d", n), v1alpha1.OperationDrain); err != nil {
			return err
		}
		watching, cancel := context.WithCancel(ctx)
		closed := make(chan closing, 1)
		go func() { closed <- watchSlot(watching, nodes, s, slot) }()
		err = order(ctx, w, fmt.Sprintf("undrain-%d", n), v1alpha1.OperationUndrain)
		cancel()
		c := <-closed
		if err := errors.Join(err, c.err); err != nil {
			return err
		}
		p.closed = append(p.closed, c.took)
	}
	return nil
}

// declareStore has the service use the servers, and waits until it is ready with a slot whose home is the first region.
func declareStore(ctx context.Context, w *crowdworld.World, nodes map[string]*mysqltest.Node, s *v1alpha1.MultiActiveService) error {
	d := &v1alpha1.DataStore{ObjectMeta: metav1.ObjectMeta{Name: datastore}}
	d.Spec = v1alpha1.DataStoreSpec{
		Engine: v1alpha1.EngineMariaDB, Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh}, Management: v1alpha1.StoreManaged,
		ManageSettings: v1alpha1.ChoiceYes, ReplicationSecretRef: &v1alpha1.SecretReference{Name: datastore + "-replication"},
		AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}},
	}
	for _, region := range regions {
		o := nodes[region].Options()
		d.Spec.Endpoints = append(d.Spec.Endpoints, v1alpha1.StoreEndpoint{Region: region, Address: o.Address, SecretRef: v1alpha1.SecretReference{Name: datastore}})
		for name, who := range map[string][2]string{datastore: {o.Admin.User, o.Admin.Password}, datastore + "-replication": {o.Replication.User, o.Replication.Password}} {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: world.Namespace, Name: name}}
			secret.StringData = map[string]string{"username": who[0], "password": who[1]}
			if err := w.Members[region].Create(ctx, secret); err != nil {
				return err
			}
		}
	}
	s.Spec.DataClasses = []v1alpha1.DataClass{{
		Name: "order",
		Sync: []v1alpha1.SyncPolicy{{
			Method:             v1alpha1.SyncStorageReplication,
			StorageReplication: &v1alpha1.StorageReplicationSync{Store: datastore, Tables: []string{"shop.orders"}},
		}},
	}}
	if err := until(ctx, func(ctx context.Context) error {
		all := &v1alpha1.RegionList{}
		err := w.Hub.List(ctx, all)
		for i := range all.Items {
			if r := &all.Items[i]; !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionServing) {
				err = errors.Join(err, fmt.Errorf("region %s does not serve yet", r.Name))
			}
		}
		return err
	}); err != nil {
		return err
	}
	if err := errors.Join(w.Hub.Create(ctx, d), w.Hub.Create(ctx, s)); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		if err := w.Hub.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		for _, c := range []string{v1alpha1.ConditionStoresReady, v1alpha1.ConditionReplicationHealthy} {
			if !meta.IsStatusConditionTrue(s.Status.Conditions, c) {
				return fmt.Errorf("the service is not %s yet", c)
			}
		}
		return nil
	})
}

// slotAtHome returns a slot that the first region owns, by the fences on its server.
func slotAtHome(ctx context.Context, nodes map[string]*mysqltest.Node, s *v1alpha1.MultiActiveService) (slot int, err error) {
	err = until(ctx, func(ctx context.Context) error {
		return nodes[regions[0]].Application().QueryRowContext(ctx, "SELECT s.slot FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) "+
			"WHERE s.service = ? AND f.owner = ? LIMIT 1", s.Namespace+"/"+s.Name, regions[0]).Scan(&slot)
	})
	return slot, err
}

// order has an operation about the first region carried out.
func order(ctx context.Context, w *crowdworld.World, name string, kind v1alpha1.OperationType) error {
	o := &v1alpha1.Operation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.OperationSpec{Type: kind, Region: regions[0]}}
	if err := w.Hub.Create(ctx, o); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		if err := w.Hub.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if o.Status.State != v1alpha1.OperationSucceeded {
			return fmt.Errorf("%s is %s: %+v", name, o.Status.State, o.Status.Conditions)
		}
		return nil
	})
}

func until(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return poll.Until(ctx, 200*time.Millisecond, check)
}

// closing is for how long nobody could write to a slot.
type closing struct {
	took time.Duration
	err  error
}

// watchSlot waits until a slot goes home, and returns the time from the last look at which its owner before could
// write to it to the first at which its home can.
func watchSlot(ctx context.Context, nodes map[string]*mysqltest.Node, s *v1alpha1.MultiActiveService, slot int) closing {
	last := time.Time{}
	for {
		for _, region := range regions {
			owner, err := ownerIn(ctx, nodes[region], s, slot)
			switch {
			case ctx.Err() != nil:
				return closing{err: errors.New("the slot did not go home, or somebody else did not have it before")}
			case err != nil:
				return closing{err: err}
			case owner == region && region != regions[0]:
				last = time.Now()
			case owner == region && !last.IsZero():
				return closing{took: time.Since(last)}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(glance):
		}
	}
}

// ownerIn is who may write to a slot on a region's server.
func ownerIn(ctx context.Context, n *mysqltest.Node, s *v1alpha1.MultiActiveService, slot int) (string, error) {
	var owner string
	err := n.Application().QueryRowContext(ctx, "SELECT f.owner FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) "+
		"WHERE s.service = ? AND s.slot = ?", s.Namespace+"/"+s.Name, slot).Scan(&owner)
	if errors.Is(err, sql.ErrNoRows) || err != nil && strings.Contains(err.Error(), "1146") {
		return "", nil // nothing has been written there yet
	}
	return owner, err
}

// writeAll has rows written in all regions, so that there is something to catch up with.
func writeAll(ctx context.Context, nodes map[string]*mysqltest.Node) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for id := int64(1); ; id++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = nodes[regions[id%int64(len(regions))]].Put(ctx, 5_000_000_000+id, "while keys move")
		}
	}
}

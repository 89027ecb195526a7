package storeposition

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
)

// LeaseName is the name of the Lease, in the operator's namespace.
const LeaseName = "multiactive-coordination"

// Annotations of the Lease.
const (
	// ClusterIDAnnotation holds the store's cluster ID in hexadecimal.
	ClusterIDAnnotation = "multiactive.dev/cluster-id"
	// RevisionAnnotation holds the highest revision seen, in decimal.
	RevisionAnnotation = "multiactive.dev/revision"
	// EpochAnnotation holds the highest epoch seen in that store.
	EpochAnnotation = "multiactive.dev/epoch"
	// AboveEpochAnnotation holds the highest epoch seen in the stores before it.
	AboveEpochAnnotation = "multiactive.dev/above-epoch"
	// RevisionBaseAnnotation holds what is added to the store's revisions for gateways.
	RevisionBaseAnnotation = "multiactive.dev/revision-base"
	// RestoredAnnotation is there once the store came back with a lower revision.
	RestoredAnnotation = "multiactive.dev/restored"

	// AdoptAnnotation is a person's word: the ID, in hexadecimal, of the store to follow from now on.
	AdoptAnnotation = "multiactive.dev/adopt"
	// AdoptionAnnotation says what holds the word up.
	AdoptionAnnotation = "multiactive.dev/adoption"
	// RefusedIDAnnotation, RefusedAnnotation and RefusedSinceAnnotation say which store is refused,
	// why, and since when (RFC 3339).
	RefusedIDAnnotation    = "multiactive.dev/refused-cluster-id"
	RefusedAnnotation      = "multiactive.dev/refused"
	RefusedSinceAnnotation = "multiactive.dev/refused-since"

	// TroubleAnnotation says what else a person should look at in the store, as this region sees it, and
	// TroubleSinceAnnotation since when (RFC 3339).
	TroubleAnnotation      = "multiactive.dev/trouble"
	TroubleSinceAnnotation = "multiactive.dev/trouble-since"
)

// maxTrouble bounds what is written of trouble: annotations are no place for long texts.
const maxTrouble = 2000

// revisionSlack is how much further than the Lease says gateways may have come: it is written every few
// seconds, and a store commits some ten thousand times in one at most.
const revisionSlack = 1_000_000

// Kept is what the Lease holds of the store that the region follows.
type Kept struct {
	// Position is the zero value when nothing was followed yet.
	Position coordination.Position
	// Restored: the store has come back with a lower revision, and is refused for good.
	Restored bool
	// Epoch is the highest seen in this store, AboveEpoch the highest seen in those before.
	Epoch, AboveEpoch int64
	// RevisionBase is added to the store's revisions for gateways, which refuse lower ones than they
	// have had.
	RevisionBase int64
}

// Load returns what was kept, or the zero Kept when there is nothing yet. A Lease that cannot be read or
// understood is an error: going on without it would accept any store.
func Load(ctx context.Context, reader client.Reader, namespace string) (Kept, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var lease coordinationv1.Lease
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: LeaseName}, &lease)
	if apierrors.IsNotFound(err) {
		return Kept{}, nil
	}
	if err != nil {
		return Kept{}, fmt.Errorf("reading lease %s/%s: %w", namespace, LeaseName, err)
	}
	return Parse(&lease)
}

// Parse reads the Lease.
func Parse(lease *coordinationv1.Lease) (Kept, error) {
	broken := func(annotation string, err error) (Kept, error) {
		return Kept{}, fmt.Errorf("lease %s/%s: annotation %s: %w; put back what it held, or delete the Lease to accept the store as it is now",
			lease.Namespace, lease.Name, annotation, err)
	}
	kept := Kept{Restored: lease.Annotations[RestoredAnnotation] != ""}
	var err error
	if kept.Position.ClusterID, err = strconv.ParseUint(lease.Annotations[ClusterIDAnnotation], hexadecimal, 64); err != nil {
		return broken(ClusterIDAnnotation, err)
	}
	for annotation, into := range map[string]*int64{
		RevisionAnnotation: &kept.Position.Revision, EpochAnnotation: &kept.Epoch,
		AboveEpochAnnotation: &kept.AboveEpoch, RevisionBaseAnnotation: &kept.RevisionBase,
	} {
		value, there := lease.Annotations[annotation]
		if !there && annotation != RevisionAnnotation {
			continue // none yet
		}
		if *into, err = strconv.ParseInt(value, 10, 64); err != nil {
			return broken(annotation, err)
		}
	}
	return kept, nil
}

// annotate sets an annotation, or removes it when the value is empty.
func annotate(lease *coordinationv1.Lease, name, value string) {
	if value == "" {
		delete(lease.Annotations, name)
		return
	}
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, name, value)
}

// number writes a number that may be left out when it is 0.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// follow writes what is kept of a store that is not refused, or will not be.
func follow(lease *coordinationv1.Lease, kept Kept, now time.Time) {
	annotate(lease, ClusterIDAnnotation, FormatID(kept.Position.ClusterID))
	annotate(lease, RevisionAnnotation, strconv.FormatInt(kept.Position.Revision, 10))
	annotate(lease, EpochAnnotation, number(kept.Epoch))
	annotate(lease, AboveEpochAnnotation, number(kept.AboveEpoch))
	annotate(lease, RevisionBaseAnnotation, number(kept.RevisionBase))
	for _, gone := range []string{RestoredAnnotation, RefusedIDAnnotation, RefusedAnnotation, RefusedSinceAnnotation} {
		annotate(lease, gone, "")
	}
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now))
}

// refuse writes which store is refused, why, and since when unless that is known.
func refuse(lease *coordinationv1.Lease, refused *coordination.OtherStoreError, now time.Time) {
	id := FormatID(refused.Seen.ClusterID)
	if lease.Annotations[RefusedIDAnnotation] != id {
		annotate(lease, RefusedSinceAnnotation, now.UTC().Format(time.RFC3339))
		annotate(lease, RefusedAnnotation, refused.Error())
	}
	annotate(lease, RefusedIDAnnotation, id)
	if refused.Restored {
		annotate(lease, RestoredAnnotation, "true")
	}
}

// tellTrouble writes what a person should look at, and since when unless that is known.
func tellTrouble(lease *coordinationv1.Lease, trouble string, now time.Time) {
	if len(trouble) > maxTrouble {
		trouble = strings.ToValidUTF8(trouble[:maxTrouble], "") + "…"
	}
	switch {
	case trouble == "":
		annotate(lease, TroubleSinceAnnotation, "")
	case lease.Annotations[TroubleAnnotation] == "":
		annotate(lease, TroubleSinceAnnotation, now.UTC().Format(time.RFC3339))
	}
	annotate(lease, TroubleAnnotation, trouble)
}

// adopted returns what is kept once the store with the ID is followed in place of the one before.
func adopted(before Kept, id uint64) Kept {
	return Kept{
		Position:     coordination.Position{ClusterID: id},
		AboveEpoch:   max(before.AboveEpoch, before.Epoch),
		RevisionBase: before.RevisionBase + before.Position.Revision + revisionSlack,
	}
}

package clusters

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
)

// kind is what is kept of every cluster's objects.
type kind struct {
	name      string
	object    client.Object
	scope     meta.RESTScope
	transform toolscache.TransformFunc
	// change says of whom an object is news.
	change func(client.Object) Change
	// same, unless nil, reports whether two versions differ in nothing that is news.
	same func(before, now client.Object) bool
}

// kinds returns what is kept.
func kinds(o Options) []kind {
	stripped := cache.TransformStripManagedFields()
	of := func(object client.Object) Change { return Change{Service: client.ObjectKeyFromObject(object)} }
	out := []kind{{name: "RegionalService", object: &v1alpha1.RegionalService{}, scope: meta.RESTScopeNamespace, transform: stripped, change: of}}
	if o.Copies {
		out = append(
			out,
			kind{"MultiActiveService", &v1alpha1.MultiActiveService{}, meta.RESTScopeNamespace, withoutStatus(stripped), of, sameDeclaration},
			kind{"Region", &v1alpha1.Region{}, meta.RESTScopeRoot, withoutStatus(stripped), func(o client.Object) Change {
				return Change{Declared: o.GetName()}
			}, sameDeclaration},
			kind{"Operation", &v1alpha1.Operation{}, meta.RESTScopeRoot, stripped, func(o client.Object) Change {
				return Change{Order: o.GetName()}
			}, sameOrder},
		)
	}
	return out
}

// withoutStatus drops what other regions say of a copy: nobody asks here.
func withoutStatus(next toolscache.TransformFunc) toolscache.TransformFunc {
	return func(o any) (any, error) {
		switch o := o.(type) {
		case *v1alpha1.MultiActiveService:
			o.Status = v1alpha1.MultiActiveServiceStatus{}
		case *v1alpha1.Region:
			o.Status = v1alpha1.RegionStatus{}
		}
		return next(o)
	}
}

// handler tells of the kind's news.
func (k kind) handler(region string, tell func(Change)) toolscache.ResourceEventHandlerFuncs {
	news := func(o any) {
		if gone, is := o.(toolscache.DeletedFinalStateUnknown); is {
			o = gone.Obj
		}
		if object, is := o.(client.Object); is {
			c := k.change(object)
			c.Region = region
			tell(c)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: news,
		UpdateFunc: func(before, now any) {
			b, isB := before.(client.Object)
			n, isN := now.(client.Object)
			if k.same != nil && isB && isN && k.same(b, n) {
				return
			}
			news(now)
		},
		DeleteFunc: news,
	}
}

// sameDeclaration reports whether two versions of an object differ in nothing that people declare.
func sameDeclaration(a, b client.Object) bool {
	return a.GetUID() == b.GetUID() && a.GetGeneration() == b.GetGeneration() &&
		equality.Semantic.DeepEqual(a.GetDeletionTimestamp(), b.GetDeletionTimestamp()) &&
		maps.Equal(a.GetAnnotations(), b.GetAnnotations())
}

// sameOrder reports whether two versions of an Operation are an order that stands as it did.
func sameOrder(a, b client.Object) bool {
	x, isX := a.(*v1alpha1.Operation)
	y, isY := b.(*v1alpha1.Operation)
	return isX && isY && sameDeclaration(x, y) && x.Status.State == y.Status.State
}

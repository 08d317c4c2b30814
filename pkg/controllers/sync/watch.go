package sync

import (
	"context"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// watched is the objects of one type in one API, kept up to date by a watch.
type watched struct {
	cache.SharedIndexInformer
	// failure is the last answer to a list or watch, nil once they succeed.
	failure atomic.Pointer[error]
}

// newWatched watches objects of a type by a label selector (empty for all). transform makes of each what is kept; changed hears of everything that
// comes, changes or goes, with what is known of it; left, if any, of what it was before it changed.
func newWatched(api dynamic.Interface, resource schema.GroupVersionResource, selector string, transform cache.TransformFunc, changed func(types.NamespacedName, any), left func(any)) *watched {
	objects := api.Resource(resource)
	w := &watched{}
	noted := func(err error) error {
		if err == nil {
			w.failure.Store(nil)
		}
		return err
	}
	w.SharedIndexInformer = cache.NewSharedIndexInformerWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			list, err := objects.List(ctx, options)
			return list, noted(err)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			events, err := objects.Watch(ctx, options)
			return events, noted(err)
		},
	}, &unstructured.Unstructured{}, cache.SharedIndexInformerOptions{
		Indexers:          cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		ObjectDescription: resource.GroupResource().String(),
	})
	_ = w.SetTransform(transform) // fails only after the start
	_ = w.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		w.failure.Store(&err)
		cache.DefaultWatchErrorHandler(ctx, r, err)
	})
	hear := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if meta, ok := object.(metav1.Object); ok {
			changed(types.NamespacedName{Namespace: meta.GetNamespace(), Name: meta.GetName()}, object)
		}
	}
	_, _ = w.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: hear,
		UpdateFunc: func(before, object any) {
			if left != nil {
				left(before)
			}
			hear(object)
		},
		DeleteFunc: hear,
	})
	return w
}

// failed is why the objects are not known, nil if they are or will be soon.
func (w *watched) failed() error {
	if err := w.failure.Load(); err != nil && !w.HasSynced() {
		return *err
	}
	return nil
}

// served says whether the API serves the type, as far as it is known.
func (w *watched) served() bool {
	err := w.failed()
	return err == nil || !apierrors.IsNotFound(err)
}

func (w *watched) get(name types.NamespacedName) any {
	key := name.Name
	if name.Namespace != "" {
		key = name.Namespace + "/" + name.Name
	}
	object, _, _ := w.GetStore().GetByKey(key)
	return object
}

// Package watch keeps the objects of one type in one API at hand.
package watch

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
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// Objects are the objects of one type in one API, kept up to date by a watch.
type Objects struct {
	cache.SharedIndexInformer
	// failure is why the last list or watch failed, nil once one succeeds.
	failure atomic.Pointer[error]
}

// Source is the objects of one type in one API.
type Source struct {
	name  string
	of    runtime.Object
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// Whole gives objects as *unstructured.Unstructured.
func Whole(api dynamic.Interface, resource schema.GroupVersionResource) Source {
	objects := api.Resource(resource)
	return Source{resource.GroupResource().String(), &unstructured.Unstructured{}, anyList(objects.List), objects.Watch}
}

// Metadata gives only the metadata of objects, as *metav1.PartialObjectMetadata: that is less to send and to read.
func Metadata(api metadata.Interface, resource schema.GroupVersionResource) Source {
	objects := api.Resource(resource)
	return Source{resource.GroupResource().String(), &metav1.PartialObjectMetadata{}, anyList(objects.List), objects.Watch}
}

func anyList[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) func(context.Context, metav1.ListOptions) (runtime.Object, error) {
	return func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
}

// New watches the objects of a source by a label selector (empty for all), once it is run. transform makes of each what is kept, which is a metav1.Object;
// changed hears of everything that comes, changes or goes, with what is known of it; left, if any, of what it was before it changed.
func New(source Source, selector string, transform cache.TransformFunc, changed func(types.NamespacedName, any), left func(any)) *Objects {
	w := &Objects{}
	w.SharedIndexInformer = cache.NewSharedIndexInformerWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			list, err := source.list(ctx, options)
			if err == nil {
				w.Note(nil)
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			events, err := source.watch(ctx, options)
			if err == nil {
				w.Note(nil)
			}
			return events, err
		},
	}, source.of, cache.SharedIndexInformerOptions{
		Indexers:          cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		ObjectDescription: source.name,
	})
	_ = w.SetTransform(transform) // fails only after the start
	_ = w.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		w.Note(err)
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

// Note keeps in mind how the last list or watch went.
func (w *Objects) Note(err error) {
	if err == nil {
		w.failure.Store(nil)
		return
	}
	w.failure.Store(&err)
}

// Failed is why the objects are not known, nil if they are or will be soon.
func (w *Objects) Failed() error {
	if err := w.failure.Load(); err != nil && !w.HasSynced() {
		return *err
	}
	return nil
}

// Served says whether the API serves the type, as far as it is known.
func (w *Objects) Served() bool {
	err := w.Failed()
	return err == nil || !apierrors.IsNotFound(err)
}

// Get is what is known of an object, nil without one.
func (w *Objects) Get(name types.NamespacedName) any {
	key := name.Name
	if name.Namespace != "" {
		key = name.Namespace + "/" + name.Name
	}
	object, _, _ := w.GetStore().GetByKey(key)
	return object
}

package memberdns

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
)

const (
	trialTimeout = 20 * time.Second
	// trialAlive is how long CoreDNS must run where nothing says when it is ready; a Corefile that it refuses ends it at once.
	trialAlive   = 2 * time.Second
	pollInterval = 200 * time.Millisecond
)

// tryCoreDNS runs the member's own CoreDNS, in a pod beside it that serves nobody, with the configuration it is to get: what that one refuses never comes near the member's
// DNS. (Writing first and restoring afterwards would be worse: CoreDNS reads a new Corefile after up to two minutes, keeps the old one when it is bad, and dies of it
// at its next start.) Where a trial is not to be had, because no CoreDNS runs or a policy forbids the pod, a warning says so and we go on: the text has passed clusterdns's checks.
func (m Member) tryCoreDNS(ctx context.Context, changed map[string]string) error {
	data := map[string]string{}
	for _, name := range []string{CoreDNS, CoreDNSCustom} {
		configMap, err := m.readConfigMap(ctx, name)
		if err != nil {
			return err
		}
		if configMap != nil {
			maps.Copy(data, configMap.Data)
		}
	}
	maps.Copy(data, changed)
	if known, err := m.Trials.verdict(data); known {
		return err
	}
	verdict, err := m.tryPod(ctx, data)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		m.Log.Warn("the member's new CoreDNS configuration could not be tried before; see that its CoreDNS pods stay Ready", "reason", err.Error())
	}
	var refused error
	if verdict != "" {
		refused = Fault{v1beta1.ReasonDNSRefused, fmt.Errorf("the member's CoreDNS refuses the text for federation %s (%s), so its DNS was left as it was: correct clusterDNS.template, or set clusterDNS.mode=none", m.Federation.Name, verdict)}
	}
	m.Trials.remember(data, refused)
	return refused
}

// tryPod gives CoreDNS's last words against the data, none if it takes them. An error says that there was no verdict.
func (m Member) tryPod(ctx context.Context, data map[string]string) (verdict string, err error) {
	model, err := m.runningCoreDNS(ctx)
	if err == nil && model == nil {
		err = fmt.Errorf("no running CoreDNS pod is in %s", Namespace)
	}
	if err != nil {
		return "", err
	}
	meta := m.trialMeta(ctx)
	pod, configMap := trialPod(model, meta), &corev1.ConfigMap{ObjectMeta: meta, Data: data}
	defer m.endTrial(context.WithoutCancel(ctx), pod, configMap)
	verdict, err = m.runTrial(ctx, pod, configMap)
	if verdict == "" && err == nil {
		m.Log.Info("tried the new configuration in the member's CoreDNS", "image", pod.Spec.Containers[0].Image)
	}
	return verdict, err
}

func (m Member) trialMeta(ctx context.Context) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Namespace: Namespace, Name: "fedhelm-trial-" + m.Federation.Name,
		Labels: map[string]string{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook},
	}
	owner := &rbacv1.ClusterRole{}
	if m.Owner != "" && m.API.Get(ctx, client.ObjectKey{Name: m.Owner}, owner) == nil {
		meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole", Name: owner.Name, UID: owner.UID}}
	}
	return meta
}

// runningCoreDNS gives a pod of the member's CoreDNS that runs, nil where there is none.
func (m Member) runningCoreDNS(ctx context.Context) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := m.API.List(ctx, &pods, client.InNamespace(Namespace), client.MatchingLabels{"k8s-app": KubeDNS}); err != nil {
		return nil, fmt.Errorf("list the pods of CoreDNS: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		reads := slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil && v.ConfigMap.Name == CoreDNS })
		if reads && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			return pod, nil
		}
	}
	return nil, nil
}

// trialPod is a pod like the model, on its node where the image is, that reads the trial's ConfigMap and carries none of the labels by which questions find CoreDNS.
func trialPod(model *corev1.Pod, meta metav1.ObjectMeta) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: meta, Spec: *model.Spec.DeepCopy()}
	spec := &pod.Spec
	spec.InitContainers, spec.EphemeralContainers, spec.Containers = nil, nil, spec.Containers[:1]
	spec.HostNetwork, spec.Overhead, spec.Affinity, spec.TopologySpreadConstraints = false, nil, nil, nil
	spec.Priority, spec.PreemptionPolicy = nil, nil
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.ActiveDeadlineSeconds, spec.TerminationGracePeriodSeconds = new(int64(60)), new(int64(0))
	token := func(name string) bool { return strings.HasPrefix(name, "kube-api-access-") } // comes anew by itself
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(v corev1.Volume) bool { return token(v.Name) })
	for i := range spec.Volumes {
		if c := spec.Volumes[i].ConfigMap; c != nil && (c.Name == CoreDNS || c.Name == CoreDNSCustom) {
			c.Name = meta.Name
		}
	}
	container := &spec.Containers[0]
	container.VolumeMounts = slices.DeleteFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return token(m.Name) })
	container.ImagePullPolicy = corev1.PullIfNotPresent
	container.Resources, container.LivenessProbe, container.StartupProbe, container.Lifecycle = corev1.ResourceRequirements{}, nil, nil, nil
	container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	for i := range container.Ports {
		container.Ports[i].HostPort = 0
	}
	if p := container.ReadinessProbe; p != nil {
		p.InitialDelaySeconds, p.PeriodSeconds = 0, 1
	}
	return pod
}

// runTrial runs the pod until CoreDNS is ready, or gives the last words of one that ended. An error says that there was no verdict.
func (m Member) runTrial(ctx context.Context, pod *corev1.Pod, configMap *corev1.ConfigMap) (verdict string, err error) {
	m.endTrial(ctx, pod.DeepCopy(), configMap.DeepCopy()) // of one that was killed
	if err := m.API.Create(ctx, configMap); err != nil {
		return "", fmt.Errorf("create ConfigMap %s/%s in the member: %w", Namespace, configMap.Name, err)
	}
	if err := m.API.Create(ctx, pod); err != nil {
		return "", fmt.Errorf("create Pod %s/%s in the member: %w", Namespace, pod.Name, err)
	}
	what := fmt.Sprintf("CoreDNS in Pod %s/%s of the member to read its configuration", Namespace, pod.Name)
	err = kube.Wait(ctx, pollInterval, trialTimeout, what, func(ctx context.Context) (bool, error) {
		if err := m.API.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return false, err
		}
		for _, status := range pod.Status.ContainerStatuses {
			switch {
			case status.State.Terminated != nil:
				verdict = lastWords(status.State.Terminated.Message)
				return true, nil
			case status.State.Waiting != nil:
				return false, fmt.Errorf("it waits: %s %s", status.State.Waiting.Reason, status.State.Waiting.Message)
			case status.Ready && pod.Spec.Containers[0].ReadinessProbe != nil:
				return true, nil
			case status.State.Running != nil && pod.Spec.Containers[0].ReadinessProbe == nil:
				return time.Since(status.State.Running.StartedAt.Time) > trialAlive, nil
			}
		}
		return false, nil
	})
	return verdict, err
}

// endTrial removes what the trial made.
func (m Member) endTrial(ctx context.Context, pod *corev1.Pod, configMap *corev1.ConfigMap) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	_ = m.API.Delete(ctx, configMap)
	if m.API.Delete(ctx, pod, client.GracePeriodSeconds(0)) != nil {
		return // there is none, or it cannot be removed now
	}
	_ = kube.Wait(ctx, pollInterval, trialTimeout, "the trial's pod to be gone", func(ctx context.Context) (bool, error) {
		err := m.API.Get(ctx, client.ObjectKeyFromObject(pod), &corev1.Pod{})
		return apierrors.IsNotFound(err), nil
	})
}

// lastWords gives what CoreDNS complained of at the end of its log, at most three lines. What it greets with is left out: it goes to another stream than
// the complaint, and a container's log has the two in any order.
func lastWords(log string) string {
	lines := strings.FieldsFunc(log, func(r rune) bool { return r == '\n' })
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" || greeting.MatchString(line) })
	if len(lines) == 0 {
		return "it ends without a word"
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

var greeting = regexp.MustCompile(`^(maxprocs: |\[INFO\]|\[WARNING\])`)

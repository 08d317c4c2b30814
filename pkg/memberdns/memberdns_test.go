package memberdns

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/clusterdns"
)

func TestImportsCustom(t *testing.T) {
	assert.True(t, importsCustom(".:53 {\n}\nimport /etc/coredns/custom/*.server\n"), "k3s")
	assert.True(t, importsCustom("import custom/*.server"), "AKS")
	assert.False(t, importsCustom("# import custom/*.server\nimport custom/*.override\n"))
}

// Text that goes into a ConfigMap comes out again, and what is the user's stays.
func TestPlaces(t *testing.T) {
	f := clusterdns.Federation{Name: "fellowship", Zone: "federation.internal."}
	for _, target := range Places {
		before := map[string]string{"Corefile": ".:53 {\n}\n", "mine.server": "example.org:53 {\n}\n", "federations": "mordor=mordor.example"}
		with, err := target.put(before, f, "")
		require.NoError(t, err, target.Mode)
		assert.NotEqual(t, before, with, target.Mode)
		again, err := target.put(with, f, "")
		require.NoError(t, err, target.Mode)
		assert.Equal(t, with, again, target.Mode)
		without, err := target.take(with, f.Name)
		require.NoError(t, err, target.Mode)
		assert.Equal(t, before, without, target.Mode)
	}
}

// The trial's pod is CoreDNS without what would make it serve, wait or be chosen.
func TestTrialPod(t *testing.T) {
	volume := func(name string) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
	}
	model := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"k8s-app": "kube-dns"}}, Spec: corev1.PodSpec{
		NodeName: "node", HostNetwork: true, ServiceAccountName: "coredns",
		Volumes: []corev1.Volume{volume("coredns"), volume("coredns-custom"), volume("theirs"), {Name: "kube-api-access-x"}},
		Containers: []corev1.Container{{Image: "coredns:1", ReadinessProbe: &corev1.Probe{InitialDelaySeconds: 30}, LivenessProbe: &corev1.Probe{},
			VolumeMounts: []corev1.VolumeMount{{Name: "coredns"}, {Name: "kube-api-access-x"}}}},
	}}
	pod := trialPod(model, metav1.ObjectMeta{Namespace: Namespace, Name: "trial"})
	assert.Empty(t, pod.Labels)
	assert.Equal(t, []string{"trial", "trial", "theirs"}, []string{pod.Spec.Volumes[0].ConfigMap.Name, pod.Spec.Volumes[1].ConfigMap.Name, pod.Spec.Volumes[2].ConfigMap.Name})
	assert.Len(t, pod.Spec.Volumes, 3)
	assert.Len(t, pod.Spec.Containers[0].VolumeMounts, 1)
	assert.False(t, pod.Spec.HostNetwork)
	assert.Nil(t, pod.Spec.Containers[0].LivenessProbe)
	assert.Equal(t, "coredns", model.Spec.Volumes[0].ConfigMap.Name, "the model is not touched")
}

// The complaint is found wherever the container's log has it.
func TestLastWords(t *testing.T) {
	const greeting, complaint = "maxprocs: Leaving GOMAXPROCS=2: CPU quota undefined", "/etc/coredns/Corefile:9 - Error during parsing: Unknown directive 'nonsense'"
	for log, words := range map[string]string{
		greeting + "\n" + complaint + "\n":                                                 complaint,
		complaint + "\n" + greeting + "\n":                                                 complaint,
		complaint + "\n[WARNING] No files matching import glob pattern: custom/*.server\n": complaint,
		"one\n\ntwo\n" + greeting + "\nthree\nfour\n":                                      "two; three; four",
		greeting + "\n": "it ends without a word",
		"":              "it ends without a word",
	} {
		assert.Equal(t, words, lastWords(log), log)
	}
}

// Of the nameservers in the values and those that were published the values' win; a zone without any may be public, or they come late.
func TestReadFacts(t *testing.T) {
	data := func(pairs ...string) *corev1.ConfigMap {
		c := &corev1.ConfigMap{Data: map[string]string{"name": "fellowship", "dnsZone": "federation.internal."}}
		for i := 0; i < len(pairs); i += 2 {
			c.Data[pairs[i]] = pairs[i+1]
		}
		return c
	}
	published := data("nameservers", "10.0.0.1:53 10.0.0.2:53")
	for name, c := range map[string]struct {
		federation, nameservers *corev1.ConfigMap
		servers                 []string
		late                    bool
	}{
		"the values'":                {data("nameservers", "192.0.2.1, 192.0.2.2:5353"), published, []string{"192.0.2.1", "192.0.2.2:5353"}, false},
		"published":                  {data("nameservers", ""), published, []string{"10.0.0.1:53", "10.0.0.2:53"}, false},
		"published, own":             {data("nameservers", "", "ownDNS", "true"), published, []string{"10.0.0.1:53", "10.0.0.2:53"}, false},
		"not published":              {data("nameservers", "", "ownDNS", "true"), nil, nil, true},
		"not known yet":              {data("ownDNS", "true"), data("nameservers", " "), nil, true},
		"perhaps public":             {data("nameservers", ""), nil, nil, true},
		"public":                     {data("nameservers", "", "ownDNS", ""), nil, nil, false},
		"public, an old one is left": {data("ownDNS", "false", "provider", "aws-route53"), published, nil, false},
		"a CoreDNS of the user's":    {data("ownDNS", "false", "provider", "coredns"), published, []string{"10.0.0.1:53", "10.0.0.2:53"}, false},
		"one that is not told of":    {data("ownDNS", "false", "provider", "coredns"), nil, nil, false},
	} {
		f := ReadFacts(c.federation, c.nameservers)
		assert.Equal(t, "fellowship federation.internal.", f.Name+" "+f.Zone, name)
		assert.ElementsMatch(t, c.servers, f.Nameservers, name)
		assert.Equal(t, c.late, f.Late, name)
	}
}

// A member is known by its one zone, else by its region; and keeps its nameservers while others are not known.
func TestFactsFor(t *testing.T) {
	f := Facts{Name: "fellowship", Zone: "Federation.internal.", Late: true}
	cluster := &v1beta1.Cluster{Status: v1beta1.ClusterStatus{Region: "Eriador", Zones: []string{"Bree"}}}
	assert.Equal(t, "bree.eriador.federation.internal", f.For(cluster, "").Nearest())
	cluster.Status.Zones = append(cluster.Status.Zones, "shire")
	assert.Equal(t, "eriador.federation.internal", f.For(cluster, "").Nearest())
	cluster.Spec.Region, cluster.Spec.Zones = "anorien", []string{"minas-tirith"}
	assert.Equal(t, "minas-tirith.anorien.federation.internal", f.For(cluster, "").Nearest())

	cluster.Status.ClusterDNS = &v1beta1.ClusterDNSStatus{Zone: "federation.internal", Nameservers: []string{"10.0.0.1:53"}}
	assert.Equal(t, []string{"10.0.0.1:53"}, f.For(cluster, "").Nameservers)
	assert.Empty(t, Facts{Zone: "other.internal.", Late: true}.For(cluster, "").Nameservers, "another zone's are of no use")
	assert.Empty(t, Facts{Zone: "federation.internal."}.For(cluster, "").Nameservers, "the zone is public now")
}

// A verdict is remembered for the text that it is about, a refusal for longer each time.
func TestTrials(t *testing.T) {
	bad, good := map[string]string{"Corefile": "bad"}, map[string]string{"Corefile": "good"}
	trials := &Trials{}
	known, _ := trials.verdict(bad)
	assert.False(t, known)
	for _, want := range []string{"1m0s", "2m0s", "4m0s", "8m0s", "16m0s", "30m0s", "30m0s"} {
		trials.remember(bad, assert.AnError)
		assert.Equal(t, want, trials.lasts.String())
	}
	known, refused := trials.verdict(bad)
	assert.True(t, known)
	assert.ErrorIs(t, refused, assert.AnError)
	known, _ = trials.verdict(good)
	assert.False(t, known)
	trials.remember(good, nil)
	known, refused = trials.verdict(good)
	assert.True(t, known)
	assert.NoError(t, refused)
	trials.until = trials.until.Add(-2 * passedFor)
	known, _ = trials.verdict(good)
	assert.False(t, known, "for a while")

	var none *Trials
	none.remember(bad, assert.AnError)
	known, _ = none.verdict(bad)
	assert.False(t, known)
}

package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

func TestMemberOf(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	cluster := func(phase v1beta1.ClusterPhase, conditions ...metav1.Condition) *v1beta1.Cluster {
		return &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor", CreationTimestamp: at}, Status: v1beta1.ClusterStatus{Phase: phase, Conditions: conditions}}
	}
	leaving := cluster(v1beta1.ClusterPhaseReady)
	leaving.DeletionTimestamp = &at
	refused := metav1.Condition{Type: v1beta1.ClusterReady, Message: "the member refuses the credentials"}
	for name, test := range map[string]struct {
		cluster         *v1beta1.Cluster
		status, message string
	}{
		"ready":                 {cluster(v1beta1.ClusterPhaseReady, metav1.Condition{Type: v1beta1.ClusterReady, Message: "ok"}), "Ready", ""},
		"ready, but for a type": {cluster(v1beta1.ClusterPhaseReady, metav1.Condition{Type: v1beta1.ClusterTypesServed, Status: metav1.ConditionFalse, Message: "no rings"}), "Ready", "no rings"},
		"not ready":             {cluster(v1beta1.ClusterPhaseNotReady, refused), "NotReady", refused.Message},
		"no conditions":         {cluster(v1beta1.ClusterPhaseNotReady), "NotReady", "no controller has looked at it yet: see the pods of the controller manager"},
		"no phase":              {cluster(""), "Unknown", "no controller has looked at it yet: see the pods of the controller manager"},
		"leaving":               {leaving, "Leaving", "is being deleted"},
	} {
		m := memberOf(test.cluster)
		require.Equal(t, test.status, m.Status, name)
		require.Equal(t, test.message, m.Message, name)
		require.Equal(t, at, m.Joined, name)
	}
}

func TestDNSOf(t *testing.T) {
	cluster := &v1beta1.Cluster{}
	require.Equal(t, MemberDNS{}, dnsOf(cluster))
	cluster.Spec.ClusterDNS = &v1beta1.ClusterDNS{Mode: v1beta1.ClusterDNSCoreDNS}
	require.Equal(t, MemberDNS{Mode: "coredns"}, dnsOf(cluster), "nobody has looked yet")
	cluster.Status.ClusterDNS = &v1beta1.ClusterDNSStatus{Mode: v1beta1.ClusterDNSCustom, Zone: "z", Nearest: "a.z", Nameservers: []string{"10.0.0.1:53"}}
	cluster.Status.Conditions = []metav1.Condition{{Type: v1beta1.ClusterDNSConfigured, Status: metav1.ConditionTrue, Message: "all is well"}}
	require.Equal(t, MemberDNS{Mode: "coredns-custom", Nearest: "a.z", Nameservers: []string{"10.0.0.1:53"}}, dnsOf(cluster))
	cluster.Status.Conditions[0].Status = metav1.ConditionFalse
	require.Equal(t, "all is well", dnsOf(cluster).Message)
	cluster.DeletionTimestamp = &metav1.Time{}
	require.Empty(t, dnsOf(cluster).Message, "unjoin sees to it")
}

func TestTable(t *testing.T) {
	days, end := -3, metav1.NewTime(time.Date(2026, 2, 26, 0, 0, 0, 0, time.UTC))
	r := &Report{
		Federation: "fellowship", Namespace: "shire", Time: metav1.NewTime(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)),
		API: API{Address: "https://192.0.2.1:443", Ready: true},
		DNS: DNS{Zone: "federation.internal."},
		Members: []Member{{Name: "gondor", Status: "Offline", Joined: metav1.NewTime(time.Date(2026, 2, 28, 21, 0, 0, 0, time.UTC)), Message: "cluster is not reachable"},
			{Name: "shire", Status: "Ready", Joined: metav1.NewTime(time.Date(2026, 2, 28, 21, 0, 0, 0, time.UTC)), DNS: MemberDNS{
				Mode: "coredns", Nearest: "eriador.federation.internal", Nameservers: []string{"10.0.0.53:53", "10.0.0.54:53"}, Message: "the Corefile is broken"}}},
		Certificates: []Certificate{
			{Secret: "fellowship-ca", NotAfter: &end, DaysLeft: &days, Message: "expired"},
			{Secret: "fellowship-admin", Message: "Secret shire/fellowship-admin is missing"},
		},
		Problems: []string{"member gondor is Offline: cluster is not reachable", "certificate fellowship-ca: expired"},
	}
	var out bytes.Buffer
	require.NoError(t, r.Print(&out, "table"))
	require.Equal(t, `FEDERATION   fellowship              namespace shire
API          https://192.0.2.1:443   ready
DNS          federation.internal.    public

MEMBER   STATUS    VERSION   REGION   AGE   MESSAGE
gondor   Offline   -         -        3h    cluster is not reachable
shire    Ready     -         -        3h

MEMBER'S DNS   MODE      FALLS BACK TO                 ASKS                         MESSAGE
gondor         -         -                             -                            -
shire          coredns   eriador.federation.internal   10.0.0.53:53, 10.0.0.54:53   the Corefile is broken

CERTIFICATE        ENDS         DAYS LEFT   MESSAGE
fellowship-ca      2026-02-26   -3          expired
fellowship-admin   -            -           Secret shire/fellowship-admin is missing
`, out.String())
	r.Etcd = []string{"http://a:2379", "http://b:2379"}
	out.Reset()
	require.NoError(t, r.Print(&out, "table"))
	require.Contains(t, out.String(), "\nETCD         http://a:2379, http://b:2379   not the control plane's own\n")
	require.EqualError(t, r.Err(), "federation fellowship in namespace shire is not well: member gondor is Offline: cluster is not reachable; certificate fellowship-ca: expired")
}

func TestBrief(t *testing.T) {
	require.Equal(t, "answers 500", brief(fmt.Errorf("get: %w", apierrors.NewInternalError(errors.New("[+]ping ok\n[-]etcd failed")))))
	require.Equal(t, "no answer within 5s", brief(fmt.Errorf("get: %w", context.DeadlineExceeded)))
	require.Equal(t, "one line", brief(errors.New("one\n line")))
}

package kafkasecret_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/kafkasecret"
	"multiactive.dev/operator/internal/port/kafka"
)

func TestOptions(t *testing.T) {
	const password = "correct horse"
	for name, test := range map[string]struct {
		auth    bool
		data    map[string]string
		want    func(kafka.Options) bool
		problem string
		missing bool
	}{
		"without credentials": {want: func(o kafka.Options) bool { return o.SASL == nil && o.TLS == nil && o.Brokers[0] == "kafka:9092" }},
		"SCRAM": {auth: true, data: map[string]string{"mechanism": "SCRAM-SHA-512", "username": "u", "password": password}, want: func(o kafka.Options) bool {
			return o.SASL.Mechanism == kafka.MechanismScramSHA512 && o.SASL.User == "u" && o.SASL.Password == password && o.TLS == nil
		}},
		"no Secret":         {auth: true, problem: "no Secret system/kafka-admin", missing: true},
		"unknown mechanism": {auth: true, data: map[string]string{"mechanism": "KERBEROS", "username": "u", "password": password}, problem: "KERBEROS"},
		"no password":       {auth: true, data: map[string]string{"mechanism": "PLAIN", "username": "u"}, problem: "password"},
		"no certificate":    {auth: true, data: map[string]string{"ca.crt": password}, problem: "ca.crt holds no PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			k := v1alpha1.RegionKafka{BootstrapServers: []string{"kafka:9092"}}
			if test.auth {
				k.Auth = &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: "kafka-admin"}}
			}
			reader := fake.NewClientBuilder()
			if test.data != nil {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "kafka-admin"}, Data: map[string][]byte{}}
				for key, value := range test.data {
					secret.Data[key] = []byte(value)
				}
				reader = reader.WithObjects(secret)
			}
			o, err := kafkasecret.Options(t.Context(), reader.Build(), "system", k)
			if test.problem == "" {
				if err != nil || !test.want(o) {
					t.Errorf("options %v, error %v", o, err)
				}
				return
			}
			var invalid *kafkasecret.InvalidError
			if !errors.As(err, &invalid) || invalid.Missing != test.missing || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("error %v, want one that says %q", err, test.problem)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, o, o.SASL), password) {
				t.Error("the password is in what may be logged")
			}
		})
	}
}

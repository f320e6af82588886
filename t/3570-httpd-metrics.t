#!/usr/bin/perl
# /v1/agent/metrics: names, labels, host, filters, of all daemons, as JSON and as Prometheus' text; doc/metrics.md names each.
use strict;
use warnings;
use Compress::Raw::Zlib ();
use JSON::PP;
use Sys::Hostname;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(name => 'counted', config => { telemetry => {} });

sub ask { return Raw->new($n)->ask(@_) }

# What JSON shows now: { "Gauges NAME LABELS" => entry }.
sub shown
{
	my $m = $n->get_json('/v1/agent/metrics');
	my %all;

	for my $kind (qw(Gauges Counters Samples)) {
		for my $e (@{$m->{$kind}}) {
			my $labels = join ',', map { "$_=$e->{Labels}{$_}" } sort keys %{$e->{Labels}};
			fail "$e->{Name} $labels is there twice" if $all{"$kind $e->{Name} $labels"};
			$all{"$kind $e->{Name} $labels"} = $e;
		}
	}
	return \%all;
}

my $last;
sub becomes
{
	my ($code, $what) = @_;

	return ok($n->wait_for(sub { $last = shown(); $code->($last) }, 45), $what) || diag join "\n", sort keys %$last;
}

# ---- not for Prometheus until it is asked for
my $r = ask('GET', '/v1/agent/metrics?format=prometheus');
is "$r->{status} $r->{body}", '415 Prometheus is not enabled since its retention time is not positive', 'prometheus is off';
is $r->{headers}{'Content-Type'}, 'text/plain; charset=utf-8', 'as text';
is ask('GET', '/v1/agent/metrics', { Accept => 'application/openmetrics-text' })->{status}, 415, 'by Accept too';

# ---- JSON
my $host = hostname();
ask('PUT', '/v1/agent/service/register', {}, qq({"ID":"web$_","Name":"web"})) for 1, 2;
ask('PUT', "/v1/kv/k$_", {}, 'x') for 1 .. 7;
ask('PUT', '/v1/session/create', {}, '{}');
ask('GET', '/v1/session/info/no-id');
$n->dig('web.service.consul', '+short');
$n->dig('web.service.consul', '+short');
my %seen;
my @part = (
	sub { my $e = $_[0]{'Samples consul.api.http method=PUT,path=v1.kv._'}; $e && $e->{Count} == 7 && $e->{Sum} > 0 && $e->{Min} <= $e->{Mean} && $e->{Mean} <= $e->{Max} && abs($e->{Rate} - $e->{Sum} / 10) < 1e-9 },
	sub { my $e = $_[0]{'Samples consul.http.PUT.v1.kv._ '}; $e && $e->{Count} == 7 },
	sub { my $e = $_[0]{'Samples consul.kvs.apply '}; $e && $e->{Count} == 7 },
	sub { my $e = $_[0]{'Samples consul.fsm.kvs '}; $e && $e->{Count} == 7 },
	sub { my $e = $_[0]{'Counters consul.rpc.request '}; $e && $e->{Count} > 7 && $e->{Sum} == $e->{Count} },
	sub { my $e = $_[0]{'Counters consul.rpc.request_error '}; $e && $e->{Count} >= 1 },
	sub { my $e = $_[0]{"Samples consul.dns.domain_query node=$n->{name}"}; $e && $e->{Count} >= 2 },
);
ok $n->wait_for(sub { my $now = shown(); $seen{$_} ||= $part[$_]->($now) for 0 .. $#part; $last = $now; @part == grep { $seen{$_} } 0 .. $#part }, 45),
	'requests, writes, errors and answers of httpd, raftd and dnsd' or diag explain \%seen, $last;
my %gauge = ('state.nodes datacenter=dc1' => 1, 'state.services datacenter=dc1' => 2, 'state.service_instances datacenter=dc1' => 3,
	'state.kv_entries datacenter=dc1' => 7, 'state.sessions datacenter=dc1' => 1, 'members.servers datacenter=dc1' => 1, 'members.clients datacenter=dc1' => 0,
	'autopilot.healthy ' => 1, 'autopilot.failure_tolerance ' => 0, 'raft.peers ' => 1, 'memberlist.health.score ' => 0);
becomes(sub { my ($m) = @_; !grep { my $e = $m->{"Gauges consul.$host.$_"}; !$e || $e->{Value} != $gauge{$_} } keys %gauge }, 'gauges carry the host');
is_deeply [sort keys %{$last->{"Gauges consul.$host.raft.peers "}}], [qw(Labels Name Value)], 'a gauge';
is_deeply [sort keys %{(map { $last->{$_} } grep { /^Samples/ } keys %$last)[0]}], [qw(Count Labels Max Mean Min Name Rate Stddev Sum)], 'a sample';
becomes(sub { my ($m) = @_; 5 == grep { /^Gauges consul\.\Q$host\E\.process\.resident_bytes daemon=/ } keys %$m }, 'five daemons');
my $resident = 0;
$resident += $last->{$_}{Value} for grep { /process\.resident_bytes/ } keys %$last;
cmp_ok abs($last->{"Gauges consul.$host.runtime.sys_bytes "}{Value} - $resident), '<', 1, 'whose memory is added up';

# ---- by a reload: prefix, no host, a filter, Prometheus
$n->write_config({ telemetry => { metrics_prefix => 'my.own', disable_hostname => JSON::PP::true, prometheus_retention_time => '60s',
	prefix_filter => ['-my.own.raft', '+my.own.raft.state', '+my.own.raft.peers'] } });
is ask('PUT', '/v1/agent/reload')->{status}, 200, 'a reload';
becomes(sub { $_[0]{'Gauges my.own.raft.peers '} && $_[0]{'Gauges my.own.state.nodes datacenter=dc1'} }, 'another prefix, and no host');
is_deeply [grep { / my\.own\.raft\.(?!state|peers)/ || !/ my\.own\./ } keys %$last], [], 'the filter keeps back what it shall';
$r = ask('GET', '/v1/agent/metrics?format=prometheus');
is $r->{headers}{'Content-Type'}, 'text/plain; version=0.0.4; charset=utf-8', 'prometheus';
like $r->{body}, qr/^# HELP my_own_state_nodes my_own_state_nodes\n# TYPE my_own_state_nodes gauge\nmy_own_state_nodes\{datacenter="dc1"\} 1$/m, 'a gauge with a label';
like $r->{body}, qr/^# TYPE my_own_api_http summary\n(?:my_own_api_http(?:_sum|_count)?\{[^}]*\} \S+\n)+(?=#|\z)/m, 'a family has one head';
like $r->{body}, qr/^my_own_api_http\{method="PUT",path="v1\.kv\._",quantile="0\.5"\} (?:NaN|[\d.e-]+)$/m, 'a quantile';
like $r->{body}, qr/^my_own_api_http_count\{method="PUT",path="v1\.kv\._"\} 7$/m, 'a count since the start';
unlike $r->{body}, qr/^my_own_raft_(?!state|peers)/m, 'filtered as well';
like $r->{body}, qr/^my_own_raft_state_leader 1$/m, 'a counter';
my @heads = $r->{body} =~ /^# TYPE (\S+)/mg;
my %heads = map { $_ => 1 } @heads;
is scalar(@heads), scalar(keys %heads), 'no family is there twice';
like ask('GET', '/v1/agent/metrics', { Accept => 'text/plain;version=0.4.0;q=1,*/*;q=0.1' })->{body}, qr/^# HELP/, 'by Accept';
$n->write_config({ telemetry => { prefix_filter => ['+my.own.kvs'], filter_default => JSON::PP::false, metrics_prefix => '0' } });
is ask('PUT', '/v1/agent/reload')->{status}, 200, 'once more';
is ask('GET', '/v1/agent/metrics?format=prometheus')->{body}, '', 'all but what is named is kept back';
$n->write_config({ telemetry => { prefix_filter => ['+0.kvs'] } });
is ask('PUT', '/v1/agent/reload')->{status}, 200, 'once more';
like ask('GET', '/v1/agent/metrics?format=prometheus')->{body}, qr/\A# HELP __kvs_apply __kvs_apply\n/, 'a name does not begin with a digit';

# ---- doc/metrics.md
$n->write_config({ telemetry => { prefix_filter => [], filter_default => JSON::PP::true, metrics_prefix => 'consul' } });
is ask('PUT', '/v1/agent/reload')->{status}, 200, 'all again';
ok $n->wait_for(sub { ask('GET', '/v1/agent/metrics?format=prometheus')->{body} =~ /^consul_memberlist_health_score /m }, 45), 'gossip too';
my %doc;
for (split /\n/, Node::_slurp("$Node::SRCDIR/doc/metrics.md")) {
	my ($names, $kind) = /^\| ([^|]+?) \| (counter|gauge|sample) \|/ or next;
	$doc{$_} = $kind for map { s/\*$//r } split /, /, $names;
}
my %type = (counter => 'counter', gauge => 'gauge', summary => 'sample');
my %known = map { my $k = $_; ($k =~ tr/a-zA-Z0-9/_/cr) => $doc{$k} } keys %doc;
my @missing;
for (split /\n/, ask('GET', '/v1/agent/metrics?format=prometheus')->{body}) {
	my ($name, $kind) = /^# TYPE consul_(\S+) (\S+)$/ or next;
	$name = 'http_METHOD_PATH' if $name =~ /^http_[A-Z]+_v1_/;
	$name = 'memberlist_dropped_WHY' if $name =~ /^memberlist_dropped_/;
	push @missing, "$name $kind" if ($known{$name} // '') ne $type{$kind};
}
is_deeply \@missing, [], 'doc/metrics.md has each metric and its kind';
my $source = join '', map { Node::_slurp($_) } map { glob "$Node::SRCDIR/$_/*.c" } qw(lib raftd gossipd httpd dnsd checkd);
is_deeply [grep { my $literal = $_ =~ s/METHOD\.PATH$|WHY$//r; $source !~ /"\Q$literal\E/ } sort keys %doc], [], 'and none that is none';
# ---- a monitor that is compressed can be read line by line as it comes
my $monitor = Raw->new($n);
my $z = Compress::Raw::Zlib::Inflate->new(-WindowBits => Compress::Raw::Zlib::WANT_GZIP());
$monitor->send("GET /v1/agent/monitor?loglevel=debug HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
my ($lines, $taken) = ('', 0);
for my $i (1 .. 3) {
	ok $n->wait_for(sub {
		ask('GET', "/v1/kv/number$i");
		$monitor->_more(time + 0.1);
		$monitor->{in} =~ /\r\n\r\n/ or return 0;
		my ($body, $plain) = ('', '');
		for (my $rest = substr $monitor->{in}, $+[0]; $rest =~ /\A([0-9a-f]+)\r\n/i && length $rest >= $+[0] + 2 + hex $1; $rest = substr $rest, $+[0] + 2 + hex $1) {
			$body .= substr $rest, $+[0], hex $1;
		}
		my $new = substr $body, $taken;
		$taken = length $body;
		$z->inflate($new, $plain);
		$lines .= $plain;
		return $lines =~ /url=\/v1\/kv\/number$i\b/;
	}), "line $i of a compressed monitor";
}
like $monitor->{in}, qr/^Content-Encoding: gzip\r\n/m, 'which says that it is';
$monitor->close;

is $n->err_text, '', 'without a word from the sanitizers';

done_testing;

#!/usr/bin/perl
# Debian's prometheus scrapes a node's metrics, and promtool finds nothing wrong with them.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Clients;

my $prometheus = Clients::need(prometheus => '/usr/bin/prometheus');
my $promtool = Clients::need(prometheus => '/usr/bin/promtool');
my $dir = Clients::dir();
my $n = Node->new(name => 'scraped', config => { telemetry => { prometheus_retention_time => '60s', disable_hostname => JSON::PP::true } });
my $path = '/v1/agent/metrics?format=prometheus';

# Something of everything, and a whole interval of it.
for my $i (1 .. 20) {
	$n->http('PUT', "/v1/kv/k$i", "v$i");
	$n->http('GET', "/v1/kv/k$i");
}
$n->http('PUT', '/v1/agent/service/register', '{"Name":"web","Port":80}');
$n->dig('web.service.consul', '+short');
ok $n->wait_for(sub { ($n->http('GET', $path))[2] =~ /^consul_kvs_apply_count [1-9]/m }), 'a write is counted' or diag(($n->http('GET', $path))[2]);

# ---- promtool
my (undef, $headers, $text) = $n->http('GET', $path);
like $headers->{'content-type'}, qr{^text/plain; version=0\.0\.4}, 'the text says what it is';
Node::write_file("$dir/metrics", $text);
my ($rc, $said) = Clients->run(dir => "$dir", log => 'promtool', cmd => ['sh', '-c', "exec $promtool check metrics <metrics"]);
isnt $rc, 1, 'promtool can read it' or diag $said;
# What it does not like are two habits of Consul's names, which dashboards are made for. Everything else would be ours.
my @ours = grep { !/ counter metrics should have "_total" suffix$/ && !/ metric names should be written in 'snake_case' not 'camelCase'$/ }
	split /\n/, $said;
is_deeply \@ours, [], 'and complains of nothing but the names that Consul gave them';

# ---- prometheus
my $port = Node::_free_port($n->{ip});
Node::write_file("$dir/prometheus.yml", <<"YML");
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: consul
    metrics_path: /v1/agent/metrics
    params: { format: [prometheus] }
    static_configs: [ { targets: [ '$n->{ip}:$n->{ports}{http}' ] } ]
  - job_name: negotiated
    metrics_path: /v1/agent/metrics
    static_configs: [ { targets: [ '$n->{ip}:$n->{ports}{http}' ] } ]
YML
my $p = Clients->start(dir => "$dir", log => 'prometheus', cmd => [$prometheus, "--config.file=$dir/prometheus.yml",
	"--storage.tsdb.path=$dir/tsdb", "--web.listen-address=$n->{ip}:$port", '--log.level=warn']);

# The values that a query has now: { labels as text => value }.
sub query
{
	my ($expr) = @_;
	my $r = HTTP::Tiny->new(timeout => 5)->get("http://$n->{ip}:$port/api/v1/query?" . HTTP::Tiny->new->www_form_urlencode({ query => $expr }));

	return {} if !$r->{success};
	return { map { ($_->{metric}{job} // '') . ($_->{metric}{__name__} // '') => $_->{value}[1] } @{decode_json($r->{content})->{data}{result}} };
}

ok $n->wait_for(sub { (query('up{job="consul"}')->{consulup} // 0) == 1 }), 'up' or diag $p->text;
ok $n->wait_for(sub { (query('up{job="negotiated"}')->{negotiatedup} // 0) == 1 }), 'by the Accept header alone too' or diag $p->text;
for my $name (qw(consul_raft_apply consul_kvs_apply_count consul_raft_commitTime_count consul_state_nodes consul_state_services
	consul_state_kv_entries consul_members_servers consul_autopilot_healthy consul_rpc_query consul_runtime_sys_bytes)) {
	my $v;
	ok $n->wait_for(sub { ($v = query("${name}{job=\"consul\"}"))->{"consul$name"} }), "$name is there and not 0" or diag explain $v;
}
is query('count({__name__=~"consul_.*",job="consul"}) > bool 100')->{consul} // query('count({__name__=~"consul_.*",job="consul"}) > bool 100')->{''}, 1,
	'more than a hundred series';
my $r = HTTP::Tiny->new(timeout => 5)->get("http://$n->{ip}:$port/api/v1/targets");
is_deeply [map { $_->{lastError} } @{decode_json($r->{content})->{data}{activeTargets}}], ['', ''], 'no scrape fails';
$p->stop;
unlike $p->text, qr/Error on ingesting|out-of-order|duplicate/, 'nothing that it cannot take in' ;

done_testing;

#!/usr/bin/perl
# Installed under the name `consul`, it takes the place of one in tools written for it: the files they write,
# the times in which they expect answers, the ends they bring about.
use strict;
use warnings;
use Cwd ();
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $bin = File::Temp->newdir(TMPDIR => 1);
symlink "$Node::BUILDDIR/consulctl/consulctl", "$bin/consul" or die;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# What test harnesses and installers for Consul write into their files.
my %all = (
	datacenter => 'dc1', primary_datacenter => 'dc1', disable_update_check => $true, disable_anonymous_signature => $true,
	skip_leave_on_interrupt => $true, leave_on_terminate => $false, disable_remote_exec => $true, enable_debug => $false,
	connect => { enabled => $false }, segments => undef, performance => { raft_multiplier => 1 },
	telemetry => { disable_hostname => $true, prometheus_retention_time => '0s' }, ui_config => { enabled => $false },
	autopilot => { cleanup_dead_servers => $true, last_contact_threshold => '200ms' }, acl => { enabled => $false },
	verify_incoming => $false, verify_outgoing => $false, log_level => 'INFO', session_ttl_min => '5s',
	limits => { http_max_conns_per_client => 500 }, node_meta => { rack => 'r1' }, raft_protocol => 3, rejoin_after_leave => $false,
	dns_config => { allow_stale => $true, node_ttl => '0s' }, enable_script_checks => $true, encrypt => '', cert_file => '', key_file => '',
);
my @nodes;
for my $i (1 .. 2) {
	my $n = Node->new(program => "$bin/consul", wait => 'none', start => 0, config => { %all });
	$n->write_config({ ports => { grpc => -1, https => -1 } });
	Node::write_file("$n->{dir}/more.json", JSON::PP->new->encode({ node_meta => { more => 'yes' } }));
	$n->{args} = ["-config-file=$n->{dir}/more.json"];
	$n->start;
	push @nodes, $n;
}
for my $n (@nodes) {
	my ($t_http, $t_leader);
	my $ok = $n->wait_for(sub {
		my ($status, undef, $body) = $n->http('GET', '/v1/status/leader');
		$t_http //= time if $status != 599;
		return $status == 200 && $body =~ /:/;
	});
	ok $ok, 'a leader' or diag $n->log_text, $n->err_text;
	ok $n->wait_for(sub { my $c = $n->get_json("/v1/health/node/$n->{name}"); grep { $_->{CheckID} eq 'serfHealth' && $_->{Status} eq 'passing' } @$c }), 'and its own serfHealth';
	note sprintf 'http after %.2f s, serfHealth after %.2f s', $t_http - $n->{started}, time - $n->{started};
	is $n->get_json('/v1/agent/self')->{Meta}{more}, 'yes', 'both files were read';
}
isnt $nodes[0]->get_json('/v1/agent/self')->{Config}{NodeID}, $nodes[1]->get_json('/v1/agent/self')->{Config}{NodeID}, 'two agents, two nodes';
like $nodes[0]->log_text, qr/\[INFO\].*disable_update_check/, 'a key that means nothing here is told at info';

# Nothing outside of data_dir.
my @made = sort grep { !m{^\Q$nodes[0]{dir}\E/(data|log|err|config\.json|more\.json)} } glob "$nodes[0]{dir}/*";
is_deeply \@made, [], 'nothing is written outside of data_dir';

# ---- security settings that are not enforced yet are refused, never ignored
for my $c ({ verify_incoming => $true }, { verify_outgoing => $true },
	{ cert_file => '/nonexistent.pem' }, { ca_file => '/nonexistent.pem' }, { ports => { https => 8501 } }) {
	my ($key) = keys %$c;
	my $n = Node->new(wait => 'none', start => 0, config => $c, program => "$bin/consul");
	$n->start;
	is $n->wait_exit, 1, "$key is refused";
	my $told = $n->err_text;
	like $told, qr/$key|https/, 'with a sentence that names it';
	is scalar(() = $told =~ /\n/g), 1, 'one sentence' or diag $told;
}

# ---- ends
for my $how (qw(INT TERM KILL)) {
	my $n = @nodes ? shift @nodes : Node->new(program => "$bin/consul");
	my %pids = $n->pids;
	my $t0 = time;
	$n->signal($how);
	ok $n->wait_for(sub { !$n->running && !Node::alive(values %pids) }, 10), "$how ends every daemon";
	cmp_ok time - $t0, '<', $ENV{TEST_TIMEOUT} // 2, 'within 2 s';
	for my $p (values %{$n->{ports}}) {
		my $s = IO::Socket::INET->new(LocalAddr => $n->{ip}, LocalPort => $p, Listen => 1, ReuseAddr => 1);
		ok $s, "port $p is given back";
	}
}

# ---- the starter's streams: nobody who survives holds them (a script check is running meanwhile)
{
	my $n = Node->new(start => 0, program => "$bin/consul", config => { enable_script_checks => $true,
		checks => [{ name => 'slow', args => ['sleep', '5987'], interval => '1s', timeout => '700s' }] });
	pipe my $r, my $w or die;
	my $pid = fork // die;
	if ($pid == 0) {
		close $r;
		open STDOUT, '>&', $w;
		open STDERR, '>&', $w;
		close $w;
		$ENV{TMPDIR} = $n->{dir};
		exec $n->command;
	}
	close $w;
	ok $n->wait_for(sub { `pgrep -f 'sleep 5987'` ne '' }), 'a script runs';
	kill 'KILL', $pid;
	waitpid $pid, 0;
	my $t0 = time;
	my $eof = 0;
	local $SIG{ALRM} = sub { die };
	eval { alarm 10; 1 while defined(my $line = <$r>); $eof = 1; alarm 0 };
	alarm 0;
	ok $eof, 'the stream of a killed agent comes to its end';
	cmp_ok time - $t0, '<', $ENV{TEST_TIMEOUT} // 2, 'within 2 s';
}

# ---- a runtime directory whose path is longer than a socket address holds
{
	my $tmp = File::Temp->newdir(TMPDIR => 1);
	my $dir = "$tmp/" . join '/', ('long-directory-name') x 8;
	File::Path::make_path($dir);
	my $n = Node->new(dir => $dir, program => "$bin/consul");
	my ($status, undef, $body) = $n->http('PUT', '/v1/kv/a', 'x');
	is $status, 200, 'a path of ' . length($dir) . ' bytes works';
	is $n->stop, 1, 'and ends in order: exit 1 without a leave, as Consul';
}
done_testing;

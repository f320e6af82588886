#!/usr/bin/perl
# Commands about the gossip, asked of an agent with canned answers: keyring, rtt, exec.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use Fcntl qw(:flock);
use File::Temp ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);

my $dir = File::Temp->newdir;
my ($a, $o);

sub is_run
{
	my ($name, $args, $code, $out, $err, $opts) = @_;
	my @got = ctl({ %$o, %{$opts // {}} }, @$args);

	is_deeply(\@got, [$code, $out, $err], $name) or diag explain \@got;
}

sub starts_run
{
	my ($name, $args, $code, $first) = @_;
	my @got = ctl($o, @$args);

	is($got[0], $code, "$name: exit code");
	like($got[2], qr/^\Q$first\E\n/, $name);
}

sub last_request { my $r = ($a->requests)[-1]; return "$r->{method} $r->{path}?$r->{query} $r->{body}"; }

# ---- keyring

my $keys = '[{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"Zz==":2,"Aa==":3},"PrimaryKeys":{"Aa==":3},"NumNodes":3},' .
    '{"WAN":false,"Datacenter":"dc1","Segment":"","Messages":{"n2":"no such key"},"Keys":{"Aa==":4},"PrimaryKeys":{"Aa==":4},"NumNodes":5},' .
    '{"WAN":false,"Datacenter":"dc1","Segment":"alpha","Keys":{"Aa==":1},"PrimaryKeys":{},"NumNodes":1}]';
$a = FakeAgent->new('GET /v1/operator/keyring' => $keys, map { ("$_ /v1/operator/keyring" => '') } qw(POST PUT DELETE));
$o = { addr => $a->addr };
is_run('keyring -list', [qw(keyring -list)], 0, <<'EOT', '');
==> Gathering installed encryption keys...

WAN:
  Aa== [3/3]
  Zz== [2/3]

dc1 (LAN):
  ===> n2: no such key
  Aa== [4/5]

dc1 (LAN) [alpha]:
  Aa== [1/1]
EOT
is(last_request, 'GET /v1/operator/keyring? ', 'asks for all');
is_run('keyring -list-primary', [qw(keyring -list-primary -local-only -relay-factor=2)], 0, <<'EOT', '');
==> Gathering installed primary encryption keys...

WAN:
  Aa== [3/3]

dc1 (LAN):
  ===> n2: no such key
  Aa== [4/5]

dc1 (LAN) [alpha]:
EOT
is(last_request, 'GET /v1/operator/keyring?local-only=true&relay-factor=2 ', 'what was asked for');
is_run('keyring -install', [qw(keyring -install=Bb==)], 0, "==> Installing new gossip encryption key...\n", '');
is(last_request, 'POST /v1/operator/keyring? {"Key":"Bb=="}', 'with the key');
is_run('keyring -use', [qw(keyring -use Bb== -relay-factor 5)], 0, "==> Changing primary gossip encryption key...\n", '');
is(last_request, 'PUT /v1/operator/keyring?relay-factor=5 {"Key":"Bb=="}', 'with the key');
is_run('keyring -remove', [qw(keyring -remove Bb==)], 0, "==> Removing gossip encryption key...\n", '');
is(last_request, 'DELETE /v1/operator/keyring? {"Key":"Bb=="}', 'with the key');
starts_run('keyring alone', ['keyring'], 1, 'Usage: consulctl keyring [options]');
is_run("keyring @$_", ['keyring', @$_], 1, '', "Only a single action is allowed\n")
    for [qw(-list -use=x)], [qw(-install=x -remove=y)], [qw(-list -list-primary)];
is_run("keyring -relay-factor=$_", [qw(keyring -list), "-relay-factor=$_"], 1, '',
    "Error parsing relay factor: Relay factor must be in range: [0, 5]\n") for 6, -1;
is_run('keyring -local-only', [qw(keyring -use=x -local-only)], 1, '',
    "Error validating local-only: local-only can only be set for list requests\n");
$a = FakeAgent->new(map { ("$_ /v1/operator/keyring" => [500, "1 error occurred:\n\t* 1/3 nodes reported failure\n\n"]) } qw(GET DELETE));
$o = { addr => $a->addr };
my $why = "error: Unexpected response code: 500 (1 error occurred:\n\t* 1/3 nodes reported failure)\n";
is_run('keyring -list that fails', [qw(keyring -list)], 1, "==> Gathering installed encryption keys...\n", $why);
is_run('keyring -remove that fails', [qw(keyring -remove=x)], 1, "==> Removing gossip encryption key...\n", $why);

# ---- rtt

sub coord { my ($x, $h, $adj) = @_; return qq({"Vec":[$x,0,0,0,0,0,0,0],"Error":0.1,"Adjustment":@{[$adj // 0]},"Height":$h}); }
my $near = coord('0.0001', '0.00001');
$a = FakeAgent->new(
	'GET /v1/agent/self' => '{"Config":{"NodeName":"own","Datacenter":"dc1"}}',
	'GET /v1/coordinate/nodes' => '[' . join(',', map { qq({"Node":"$_->[0]","Segment":"@{[$_->[2] // '']}","Coord":$_->[1]}) }
		['own', coord(0, '0.00001')], ['Far', coord('-0.05', '0.001', '-0.0005')], ['near', $near],
		['other', $near, 'alpha'], ['odd', '{"Vec":[1,2],"Error":1,"Adjustment":0,"Height":0}']) . ']',
	'GET /v1/coordinate/datacenters' => qq([{"Datacenter":"dc1","AreaID":"wan","Coordinates":[{"Node":"own","Segment":"","Coord":$near}]},) .
	    qq({"Datacenter":"dc2","AreaID":"wan","Coordinates":[{"Node":"own","Segment":"","Coord":@{[coord('0.2', '0.00002')]}}]}]),
);
$o = { addr => $a->addr };
is_run('rtt of two', [qw(rtt own near)], 0, "Estimated own <-> near rtt: 0.120 ms (using LAN coordinates)\n", '');
is_run('rtt to the own node', [qw(rtt FAR)], 0, "Estimated FAR <-> own rtt: 50.510 ms (using LAN coordinates)\n", '');
is_run('rtt of a node that is not there', [qw(rtt own none)], 1, '', qq(Could not find a coordinate for node "none"\n));
is_run('rtt of nobody', [qw(rtt none nobody)], 1, '', qq(Could not find a coordinate for node "none"\n));
is_run('rtt of another space', [qw(rtt own odd)], 1, '', qq(Could not find a coordinate for node "odd"\n));
is_run('rtt of another segment', [qw(rtt own other)], 1, '', qq(Could not find a coordinate for node "own"\n));
is_run('rtt -wan', [qw(rtt -wan own.dc1 own.dc2)], 0, "Estimated own.dc1 <-> own.dc2 rtt: 199.930 ms (using WAN coordinates)\n", '');
is_run('rtt -wan to the own node', [qw(rtt -wan own.dc2)], 0, "Estimated own.dc2 <-> own.dc1 rtt: 199.930 ms (using WAN coordinates)\n", '');
is_run("rtt -wan $_", [qw(rtt -wan own.dc1), $_], 1, '', "Node names must be specified as <node name>.<datacenter> with -wan\n")
    for 'own', 'a.b.c';
starts_run('rtt without a node', ['rtt'], 1, 'One or two node names must be specified');
starts_run('rtt of three', [qw(rtt a b c)], 1, 'One or two node names must be specified');
{
	my $none = FakeAgent->new('GET /v1/coordinate/nodes' => [401, 'Coordinate support disabled']);

	is_deeply([ctl({ addr => $none->addr }, qw(rtt a b))],
	    [1, '', "Error getting coordinates: Unexpected response code: 401 (Coordinate support disabled)\n"], 'rtt without coordinates');
}

# ---- exec

# An agent at which keys appear as this test lets them: files of a directory, whose names are escaped keys.
my $s = '11111111-2222-3333-4444-555555555555';
my $kv = "$dir/kv";
mkdir $kv;
sub key_file { my ($key) = @_; $key =~ s{/}{%}g; return "$kv/$key"; }
sub put_key { my ($key, $value) = @_; spew(key_file("_rexec/$s/$key") . '.tmp', $value); rename(key_file("_rexec/$s/$key") . '.tmp', key_file("_rexec/$s/$key")); }
sub locked_kv { my ($how) = @_; open my $fh, '>>', "$kv/.lock" or die; flock $fh, $how or die; return $fh; }
# All of them are seen at once: a listing between two would change the order in which they are shown.
sub put_keys { my $lock = locked_kv(LOCK_EX); put_key(@$_) for @_; return; }
sub list_keys { my $lock = locked_kv(LOCK_SH); opendir my $d, $kv or die; return sort grep { !/^\.|\.tmp$/ } readdir $d; }
sub exec_agent
{
	my (%more) = @_;
	my $get = sub { my ($k) = @_; return sub { my ($r) = @_; my $f = key_file(substr $r->{path}, 7); return -e $f ? slurp($f) : [404, '']; } };
	my %reads = map { my $k = $_; ("GET /v1/kv/_rexec/$s/$k" => $get->($k)) } map { my $n = $_; map { "$n/$_" } 'exit', map { sprintf 'out/%05x', $_ } 0 .. 3 } qw(n1 n2), 'a/b';

	unlink glob "$kv/*";
	return FakeAgent->new(
		'GET /v1/agent/self' => '{"Config":{"NodeName":"own","Datacenter":"dc1"}}',
		'PUT /v1/session/create' => qq({"ID":"$s"}),
		"PUT /v1/session/renew/$s" => '[]',
		"PUT /v1/session/destroy/$s" => 'true',
		"DELETE /v1/kv/_rexec/$s/" => 'true',
		"PUT /v1/kv/_rexec/$s/job" => sub { my ($r) = @_; put_key('job', $r->{body}); return 'true'; },
		'PUT /v1/event/fire/_rexec' => '{"ID":"e1"}',
		"GET /v1/kv/_rexec/$s/" => sub {
			my ($r) = @_;
			my ($index) = $r->{query} =~ /index=(\d+)/;
			my ($wait) = $r->{query} =~ /wait=(\d+)ms/;
			my $end = time + ($wait // 0) / 1000;
			my @k;

			while (1) {
				@k = list_keys();
				last if @k != ($index // 0) || time >= $end;
				select undef, undef, undef, 0.02;
			}
			return [200, JSON::PP->new->encode([map { s{%}{/}gr } @k]), { 'X-Consul-Index' => scalar @k }];
		},
		%reads, %more);
}
sub asked { return map { "$_->{method} $_->{path}" } $a->requests; }
sub request_of { my ($path) = @_; return (grep { $_->{path} eq $path } $a->requests)[0]; }
sub is_cleaned
{
	my ($name) = @_;
	my @all = asked();

	is_deeply([@all[-2, -1]], ["PUT /v1/session/destroy/$s", "DELETE /v1/kv/_rexec/$s/"], "$name: the session ends, then the data go");
	is((grep { $_->{method} eq 'DELETE' } $a->requests)[0]{query}, 'recurse=', "$name: all of them");
}

$a = exec_agent();
my $job = ctl_start({ addr => $a->addr }, qw(exec -verbose -wait=1s -wait-repl=10ms -node=^n -service=web -tag=v1 uptime -p));
ok(wait_until(sub { grep { /fire/ } asked() }), 'the event is fired');
put_keys(['n1/ack', ''], ['n2/ack', ''], ['a/b/ack', ''], ['n1/out/00000', "up 3 days\nand more"], ['n1/out/00001', "\n"], ['n1/out/00002', '']);
ok(wait_until(sub { grep { m{/n1/out/00002$} } asked() }), 'its output is read');
put_keys(['n1/exit', '0'], ['n2/exit', '3'], ['a/b/exit', '0'], ['strange', '']);
my ($code, $out, $err) = $job->finish;
is($code, 2, 'one failed: 2');
like($out, qr/^Created remote execution session: $s\nUploaded remote execution spec\nFired remote execution event: e1\n/, 'what is done');
like($out, qr/^==> n1: acknowledged$/m, 'a node takes part');
like($out, qr/^    n1: up 3 days\n    n1: and more\n    n1:\n    n1:\n==> n1: heartbeat received$/m, 'its output, line by line');
like($out, qr/^==> n1: finished with exit code 0$/m, 'and its end');
like($out, qr/^==> n2: finished with exit code 3$/m, 'of another one');
like($out, qr{^==> a/b: finished with exit code 0$}m, 'of one with an odd name');
like($out, qr{\n3 / 3 node\(s\) completed / acknowledged\nCompleted in \d+\.\d\d seconds\n\z}, 'the sum');
is($err, "Unknown key 'strange', ignoring.\n", 'what is not known is told');
is_cleaned('an execution');
is_deeply(JSON::PP->new->decode(slurp(key_file("_rexec/$s/job"))), { Command => 'uptime -p', Wait => 1000000000 }, 'the job');
is(request_of("/v1/kv/_rexec/$s/job")->{query}, "acquire=$s", 'lies under the session');
is_deeply(JSON::PP->new->decode(request_of('/v1/session/create')->{body}), { Name => 'Remote Exec', Behavior => 'delete', TTL => '15s' }, 'the session');
is(request_of('/v1/event/fire/_rexec')->{query}, 'node=%5En&service=web&tag=v1', 'the filters');
is_deeply(JSON::PP->new->decode(request_of('/v1/event/fire/_rexec')->{body}), { Prefix => '_rexec', Session => $s }, 'the event');

# Nobody, somebody who does not end, and all
sub exec_run
{
	my ($keys, $opts, @args) = @_;

	$a = exec_agent(%{$opts->{agent} // {}});
	$job = ctl_start({ addr => $a->addr, %{$opts->{run} // {}} }, 'exec', '-wait-repl=0s', @args);
	wait_until(sub { grep { /fire/ } asked() }) if $keys;
	put_keys(@{$keys // []});
	return $job->finish;
}
is_deeply([exec_run([], {}, qw(-wait=100ms true))], [0, "0 / 0 node(s) completed / acknowledged\n", ''], 'nobody takes part');
is_cleaned('nobody');
is_deeply([exec_run([['n1/ack', '']], {}, qw(-wait=300ms true))], [2, "0 / 1 node(s) completed / acknowledged\n", ''], 'one does not end: 2');
is_deeply([exec_run([['n1/ack', ''], ['n1/exit', '0']], {}, qw(-wait=300ms true))],
    [0, "==> n1: finished with exit code 0\n1 / 1 node(s) completed / acknowledged\n", ''], 'one does: 0');
exec_run([], {}, qw(-wait=100ms -shell=false ls), '-l', 'a b');
is_deeply(JSON::PP->new->decode(slurp(key_file("_rexec/$s/job"))), { Args => ['ls', '-l', 'a b'], Wait => 100000000 }, 'words instead of a line');
exec_run([], { run => { stdin => "#!/bin/sh\necho \xff\n" } }, qw(-wait=100ms -));
is_deeply(JSON::PP->new->decode(slurp(key_file("_rexec/$s/job"))), { Script => encode_base64("#!/bin/sh\necho \xff\n", ''), Wait => 100000000 }, 'a script');

# What goes wrong
is_deeply([exec_run(undef, { agent => { 'PUT /v1/session/create' => [500, 'no leader'] } }, 'x')],
    [1, '', "Failed to create session: Unexpected response code: 500 (no leader)\n"], 'no session');
ok(!grep({ /destroy|DELETE/ } asked()), 'nothing to clean up');
is_deeply([exec_run(undef, { agent => { "PUT /v1/kv/_rexec/$s/job" => 'false' } }, 'x')],
    [1, '', "Failed to create job file: failed to acquire key _rexec/$s/job\n"], 'the key is not to be had');
is_cleaned('no key');
is_deeply([exec_run(undef, { agent => { 'PUT /v1/event/fire/_rexec' => [403, 'Permission denied'] } }, 'x')],
    [1, '', "Failed to fire event: Unexpected response code: 403 (Permission denied)\n"], 'no event');
is_cleaned('no event');
is_deeply([exec_run(undef, { agent => { "GET /v1/kv/_rexec/$s/" => [500, 'oh'] } }, 'x')],
    [1, '', "Failed to read results: Unexpected response code: 500 (oh)\n"], 'results that cannot be read');
is_cleaned('no results');
for my $sig (qw(INT TERM)) {
	$a = exec_agent();
	$job = ctl_start({ addr => $a->addr }, qw(exec -wait=60s sleep 60));
	ok(wait_until(sub { grep { m{^GET /v1/kv} } asked() }), 'an execution');
	$job->signal($sig);
	is_deeply([($job->finish)[0, 2]], [1, ''], "SIG$sig ends it");
	is_cleaned("SIG$sig");
}
{
	# The session is renewed while it goes on.
	$a = exec_agent();
	$job = ctl_start({ addr => $a->addr }, qw(exec -wait=60s sleep 60));
	ok(wait_until(sub { grep { /renew/ } asked() }), 'a session that is needed longer is renewed');
	$job->signal('INT');
	$job->finish;
}
$a = FakeAgent->new;
$o = { addr => $a->addr };
starts_run('exec without a command', ['exec'], 1, 'Must specify a command to execute');
starts_run('exec of nothing', ['exec', ''], 1, 'Must specify a command to execute');
is_run('a script without a shell', [qw(exec -shell=false -)], 1, '', "Cannot configure -shell=false when reading from stdin\n");
starts_run('an empty script', [qw(exec -)], 1, 'Must specify a command to execute');
is_run('exec -tag alone', [qw(exec -tag=x y)], 1, '', "Cannot provide tag filter without service filter.\n");
like((ctl($o, qw(exec -node=[ y)))[2], qr/^Failed to compile node filter regexp: /, 'a bad expression');
is(scalar $a->requests, 0, 'nobody is asked anything');

# Another datacenter: the session hangs on a server there.
$a = exec_agent('GET /v1/health/service/consul' => '[{"Node":{"Node":"far1"}}]');
is((ctl({ addr => $a->addr }, qw(exec -datacenter=dc2 -wait=100ms x)))[0], 0, 'in another datacenter');
is_deeply(JSON::PP->new->decode(request_of('/v1/session/create')->{body}),
    { Name => 'Remote Exec via own@dc1', Node => 'far1', Checks => [], Behavior => 'delete', TTL => '15s' }, 'with a node of its own');
is(scalar(grep { $_->{path} =~ m{^/v1/(session|kv|event|health)} && $_->{query} !~ /dc=dc2/ } $a->requests), 0, 'and everything is asked there');

done_testing;

#!/usr/bin/perl
# Debian's patroni keeps a PostgreSQL of two members going, with a node as its store.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Clients;

my $patroni = Clients::need(patroni => '/usr/bin/patroni');
my $patronictl = Clients::need(patroni => '/usr/bin/patronictl');
my $postgres = Clients::need(postgresql => '/usr/lib/postgresql/*/bin/postgres');
my ($bin) = $postgres =~ m{(.*)/};
my $user = 'nobody';	# PostgreSQL refuses root
my $dir = Clients::dir($user);
my %env = (HOME => "$dir", PATH => "$bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL => 'C.UTF-8', PYTHONDONTWRITEBYTECODE => 1, TMPDIR => "$dir");
my $n = Node->new(name => 'store', config => { session_ttl_min => '1s' });
my (%m, %p);

# A member's configuration: small, quick to notice, on ports of its own.
sub configure
{
	my ($name) = @_;
	my ($pg, $rest) = map { Node::_free_port($n->{ip}) } 1 .. 2;

	$m{$name} = { pg => $pg, rest => $rest };
	Node::write_file("$dir/$name.yml", <<"YML");
scope: pg
namespace: /service/
name: $name
restapi: { listen: '$n->{ip}:$rest', connect_address: '$n->{ip}:$rest' }
consul: { host: '$n->{ip}:$n->{ports}{http}', register_service: true, service_check_interval: 1s }
bootstrap:
  dcs: { ttl: 20, loop_wait: 1, retry_timeout: 3, maximum_lag_on_failover: 1048576, postgresql: { use_pg_rewind: true, parameters: { max_connections: 20 } } }
  initdb: [ { encoding: UTF8 }, { locale: C }, { auth-local: trust }, { auth-host: trust }, no-sync ]
  pg_hba: [ 'host replication all 127.0.0.0/8 trust', 'host all all 127.0.0.0/8 trust', 'local all all trust' ]
postgresql:
  listen: '$n->{ip}:$pg'
  connect_address: '$n->{ip}:$pg'
  data_dir: $dir/$name
  bin_dir: $bin
  pgpass: $dir/$name.pass
  authentication: { superuser: { username: super, password: x }, replication: { username: repl, password: x }, rewind: { username: rewind, password: x } }
  parameters: { unix_socket_directories: '$dir', fsync: 'off', shared_buffers: 16MB }
YML
}

sub start
{
	my ($name) = @_;

	$p{$name} = Clients->start(dir => "$dir", user => $user, log => $name, env => \%env, cmd => [$patroni, "$dir/$name.yml"]);
}

# patronictl's own view: { member => "Role State" }
sub members
{
	my ($rc, $said) = ctl('list', '--format', 'json');
	my $list = $rc == 0 && $said =~ /^(\[.*\])$/ms ? eval { decode_json($1) } : undef;

	return {} if !$list;
	return { map { $_->{Member} => "$_->{Role} $_->{State}" } @$list };
}

my $runs = 0;
sub ctl
{
	return Clients->run(dir => "$dir", user => $user, log => 'ctl' . $runs++, env => \%env,
		cmd => [$patronictl, '-c', "$dir/a.yml", shift, 'pg', @_]);
}

sub leader
{
	my ($status, undef, $body) = $n->http('GET', '/v1/kv/service/pg/leader?raw');

	return $status == 200 ? $body : '';
}

# SQL on a member by psql: what it answers, '' when it does not.
sub sql
{
	my ($name, $text) = @_;
	my ($rc, $said) = Clients->run(dir => "$dir", user => $user, log => 'psql' . $runs++, env => { %env, PGCONNECT_TIMEOUT => 3, PGPASSWORD => 'x' },
		cmd => ["$bin/psql", '-h', $n->{ip}, '-p', $m{$name}{pg}, '-U', 'super', '-d', 'postgres', '-XAtq', '-c', $text]);

	chomp $said;
	return $rc == 0 ? $said : '';
}

sub become
{
	my ($want, $what, $seconds) = @_;
	my $last;

	ok $n->wait_for(sub { $last = members(); !grep { ($last->{$_} // '') !~ /^$want->{$_}$/ } keys %$want }, $seconds // 60), $what
		or diag(explain($last), map { "---- $_\n" . substr($p{$_}->text, -3000) } keys %p);
}

my $standby = qr/(?:Replica|Sync Standby) (?:running|streaming)/;

configure($_) for qw(a b);
start('a');
become({ a => 'Leader running' }, 'the first member is the leader');
my $keys = $n->get_json('/v1/kv/service/pg?keys');
ok grep({ $_ eq 'service/pg/initialize' } @$keys), 'the cluster is initialised in the KV store';
my ($lock) = @{$n->get_json('/v1/kv/service/pg/leader')};
my ($session) = @{$n->get_json("/v1/session/info/$lock->{Session}")};
is "$session->{Name} $session->{Behavior} $session->{TTL}", 'pg-a delete 10.0s', 'its lock is held by a session of its own';
start('b');
become({ a => 'Leader running', b => $standby }, 'the second follows');
is sql('a', 'create table t (v int); insert into t values (1); select 1'), '1', 'writes at the leader';
ok $n->wait_for(sub { sql('b', 'select v from t') eq '1' }), 'arrive at the other';
ok $n->wait_for(sub { @{$n->get_json('/v1/health/service/pg?passing&tag=master')} == 1 && @{$n->get_json('/v1/health/service/pg?passing&tag=replica')} == 1 }),
	'both are in the catalog by their roles, and passing';

# ---- a switchover
my ($rc, $said) = ctl('switchover', '--master', 'a', '--candidate', 'b', '--force');
is $rc, 0, 'patronictl switchover' or diag $said;
is leader(), 'b', 'the lock has changed hands';
become({ b => 'Leader running', a => $standby }, 'and the members their roles');
is sql('b', 'insert into t values (2); select count(*) from t'), '2', 'the new leader takes writes';

# ---- our own daemons die, and nobody's role changes
my %before = $n->pids;
for my $daemon (qw(httpd raftd)) {
	CORE::kill('KILL', $before{$daemon});
	ok $n->wait_for(sub { my %now = $n->pids; $now{$daemon} && $now{$daemon} != $before{$daemon} }), "$daemon is started again";
	ok $n->wait_for(sub { leader() eq 'b' }), 'and knows the leader';
}
my ($held) = @{$n->get_json('/v1/kv/service/pg/leader')};
is sql('b', 'insert into t values (3); select count(*) from t'), '3', 'the leader is still one';
become({ b => 'Leader running', a => $standby }, 'as before');

# ---- the leader's processes die all at once
$p{b}->kill;
ok $n->wait_for(sub { leader() eq 'a' }, 60), 'the other takes the lock when the session has run out' or diag $p{a}->text;
become({ a => 'Leader running' }, 'and leads');
ok $n->wait_for(sub { sql('a', 'insert into t values (4); select count(*) from t') eq '4' }), 'with all that was written';
start('b');
become({ a => 'Leader running', b => $standby }, 'the other comes back as a replica');
ok $n->wait_for(sub { sql('b', 'select count(*) from t') eq '4' }), 'and has it all';

# ---- the end: a clean stop gives the lock back
$p{b}->stop(20);
$p{a}->stop(20);
ok $n->wait_for(sub { leader() eq '' }), 'a leader that stops gives its lock back';

done_testing;

# Cluster.pm - several servers and client nodes on one machine for a test script.
#
#	use lib "$ENV{SRCDIR}/t/lib";
#	use Cluster;
#	my $c = Cluster->new(servers => 3, clients => 2, config => { ... });
#	my $leader = $c->leader;
#
# Each is a Node with the same ports at an address of its own: in 127/8,
# or, with net => 'ns', in a network namespace of its own behind a bridge, so
# that its link can be cut. Then the script itself runs in a namespace, too
# (call Cluster::namespace() first thing); nothing is left when it ends.
package Cluster;

use strict;
use warnings;
use JSON::PP ();
use Node;
use Time::HiRes qw(sleep time);

my $count = 0;

# Gossip that is quick, and yet patient with a machine that is busy.
our %GOSSIP = (gossip_interval => '50ms', probe_interval => '250ms', probe_timeout => '150ms', suspicion_mult => 3);

# Whether namespaces can be made here.
sub can_namespace
{
	return $> == 0 && system('unshare -n true 2>/dev/null') == 0 && system('command -v ip >/dev/null') == 0;
}

# Run this script again in a network and mount namespace of its own; returns there.
sub namespace
{
	return if $ENV{CLUSTER_NAMESPACE};
	$ENV{CLUSTER_NAMESPACE} = 1;
	exec 'unshare', '-n', '-m', '--propagation', 'private', $^X, $0, @ARGV or die "unshare: $!";
}

# new(%options)
#   servers => N	how many (3), named s1 ...
#   clients => N	behind them (0), named c4 ...
#   join => 0		nobody knows anybody: see join()
#   net => 'loopback'	or 'ns'
#   config => {}	merged over every server's
#   start => 0		only prepare
#   wait => 1		until there is a leader that all know (default)
# and any option of Node->new.
sub new
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, nodes => [], config => {}, net => 'loopback', servers => 3, %o }, $class;

	$self->{n} = $count++;
	# One /24 a cluster, unique to this process.
	my $id = ((($$ << 2) + $self->{n} % 4) ^ 0x4000) & 0xffff;
	$self->{prefix} = $self->{net} eq 'ns' ? "10.99.$self->{n}" : CORE::join '.', 127, 128 + (($id >> 8) & 63), $id & 255;
	$self->{ports} = { map { $_ => Node::_free_port("$self->{prefix}.1") } qw(dns http server serf_lan serf_wan) }
		if $self->{net} ne 'ns';
	$self->{ports} //= { dns => 8600, http => 8500, server => 8300, serf_lan => 8301, serf_wan => 8302 };
	$self->_bridge if $self->{net} eq 'ns';
	$self->add(start => 0) for 1 .. $self->{servers};
	$self->_know(@{$self->{nodes}});
	$self->add(start => 0, server => 0) for 1 .. ($self->{clients} // 0);
	return $self if !($o{start} // 1);
	$_->start for @{$self->{nodes}};
	$self->wait_all if $o{wait} // 1;
	return $self;
}

# They are to join each other.
sub _know
{
	my ($self, @nodes) = @_;

	return if !($self->{join} // 1);
	for my $n (@nodes) {
		$n->{config}{retry_join} = [ grep { $_ ne $n->{ip} } map { $_->{ip} } @nodes ];
		$n->write_config;
	}
}

# One more server (or, with server => 0, client); it joins the servers that are there.
sub add
{
	my ($self, %o) = @_;
	my $i = @{$self->{nodes}} + 1;
	my $ip = "$self->{prefix}.$i";
	my $client = exists $o{server} && !$o{server};
	my %config = (gossip_lan => { %GOSSIP }, retry_interval => '500ms', %{$self->{config}}, %{$o{config} // {}});
	my %node = (wait => 'none', name => ($client ? 'c' : 's') . $i, ip => $ip, ports => $self->{ports}, start => 0, client => $client);

	$config{bootstrap_expect} = $self->{servers} unless $client || exists $config{bootstrap_expect};
	$config{retry_join} = [ map { $_->{ip} } $self->servers ] if $self->{join} // 1;
	$node{wrap} = $self->_link($i, $ip) if $self->{net} eq 'ns';
	for my $k (keys %$self) {
		$node{$k} = $self->{$k} if $k =~ /^(?:args|env|config_dir)$/;
	}
	my $n = Node->new(%node, %o, config => \%config, start => 0);
	push @{$self->{nodes}}, $n;
	$n->start if $o{start} // 1;
	return $n;
}

sub nodes { my ($self) = @_; return @{$self->{nodes}} }
sub node { my ($self, $i) = @_; return $self->{nodes}[$i - 1] }
sub servers { my ($self) = @_; return grep { !$_->{client} } $self->nodes }
sub clients { my ($self) = @_; return grep { $_->{client} } $self->nodes }
sub running { my ($self) = @_; return grep { $_->running } $self->nodes }
sub running_servers { my ($self) = @_; return grep { $_->running } $self->servers }

# ---- members

# `consulctl join` at this node, to these others; dies in vain.
sub join
{
	my ($self, $n, @to) = @_;
	my ($rc, $out, $err);

	$n->wait_for(sub { ($rc, $out, $err) = $n->ctl('join', map { $_->{ip} } @to); $rc == 0 }) or die "join: $out$err\n" . $self->logs;
	return $out;
}

# name => status as this node sees the pool, in words.
my @STATUS = qw(none alive leaving left failed);
sub members
{
	my ($self, $n) = @_;

	return { map { $_->{Name} => $STATUS[$_->{Status}] // $_->{Status} } @{$n->get_json('/v1/agent/members')} };
}

# All of these nodes see exactly these members: wait_members({ s1 => 'alive' }, @nodes). The last differing view, or ''.
sub wait_members
{
	my ($self, $want, @nodes) = @_;
	my $show = sub { my ($h) = @_; return CORE::join ' ', map { "$_:$h->{$_}" } sort keys %$h };
	my $all = $show->($want);
	my $differs;

	@nodes = $self->running if !@nodes;
	$nodes[0]->wait_for(sub {
		for my $n (@nodes) {
			my $seen = $show->(eval { $self->members($n) } // { });
			next if $seen eq $all;
			$differs = "$n->{name} sees: $seen";
			return 0;
		}
		$differs = '';
		return 1;
	}, $Node::TIMEOUT * 2);
	return $differs;
}

# Every node that is there, with this status: as wait_members() wants it.
sub all_alive { my ($self, @nodes) = @_; return { map { $_->{name} => 'alive' } @nodes ? @nodes : $self->running } }

# node => status of its serfHealth, in the catalog as this node tells it.
sub catalog
{
	my ($self, $n) = @_;

	return { map { $_->{Node} => $_->{Status} } grep { $_->{CheckID} eq 'serfHealth' } @{$n->get_json('/v1/health/state/any')} };
}

# The catalog has these nodes: name => 'passing', 'critical' or undef (it is not there at all). What differs, or ''.
sub wait_catalog
{
	my ($self, $n, %want) = @_;
	my @wrong;

	$n->wait_for(sub {
		my $c = eval { $self->catalog($n) } or return 0;
		my $nodes = eval { $n->get_json('/v1/catalog/nodes') } or return 0;
		my %node = map { $_->{Node} => 1 } @$nodes;
		@wrong = map { "$_ is " . ($c->{$_} // ($node{$_} ? 'without serfHealth' : 'not there')) }
			grep { defined $want{$_} ? ($c->{$_} // '') ne $want{$_} : $node{$_} } sort keys %want;
		return !@wrong;
	}, $Node::TIMEOUT * 2);
	return CORE::join ', ', @wrong;
}

# ---- who leads

# The node that this one takes for the leader, or undef.
sub leader_of
{
	my ($self, $n) = @_;
	my ($status, undef, $body) = $n->http('GET', '/v1/status/leader');

	return undef if $status != 200 || $body !~ /^"([^":]+):\d+"/;
	my $ip = $1;
	return (grep { $_->{ip} eq $ip } $self->nodes)[0];
}

# A running leader on which a majority of those asked agrees; waits, dies in vain.
sub leader
{
	my ($self, @asked) = @_;
	my $found;

	@asked = $self->running_servers if !@asked;
	$asked[0]->wait_for(sub {
		my %votes;

		for my $n (@asked) {
			my $l = $self->leader_of($n);
			$votes{$l->{ip}}++ if $l && $l->running;
		}
		my ($ip) = sort { $votes{$b} <=> $votes{$a} } keys %votes;
		return 0 if !defined $ip || $votes{$ip} * 2 <= @asked;
		$found = (grep { $_->{ip} eq $ip } $self->nodes)[0];
		return 1;
	}) or die "no leader:\n" . $self->logs;
	return $found;
}

# The leader that these take over to once they no longer hold to the old one.
sub next_leader
{
	my ($self, $old, @asked) = @_;

	@asked = grep { $_ != $old } $self->running_servers if !@asked;
	$asked[0]->wait_for(sub { !grep { my $l = $self->leader_of($_); !$l || $l == $old } @asked }) or die "no new leader:\n" . $self->logs;
	return $self->leader(@asked);
}

sub followers { my ($self) = @_; my $l = $self->leader; return grep { $_ != $l } $self->running_servers }

# Every running server knows one and the same leader, and a write goes through it.
sub wait_all
{
	my ($self, @who) = @_;
	my $ok;

	@who = $self->running if !@who;
	$ok = $who[0]->wait_for(sub {
		my %seen;

		for my $n (@who) {
			my $l = $self->leader_of($n) or return 0;
			$seen{$l->{ip}} = 1;
		}
		return 0 if keys %seen != 1;
		my ($status) = $who[0]->http('PUT', '/v1/kv/_cluster', 'up');
		return $status == 200;
	}, $Node::TIMEOUT * 2);
	die "the servers found no common leader:\n" . $self->logs if !$ok;
	return 1;
}

# All voters of the configuration, as Node objects, as the leader tells.
sub voters
{
	my ($self) = @_;
	my $c = $self->leader->get_json('/v1/operator/raft/configuration');
	my %ip = map { ($_->{Address} =~ /^(.*):\d+$/)[0] => 1 } grep { $_->{Voter} } @{$c->{Servers}};

	return grep { $ip{$_->{ip}} } $self->nodes;
}

# Every server has applied what the leader has: an entry written now is read everywhere by stale reads.
sub wait_equal
{
	my ($self, @who) = @_;
	my $key = '_equal' . int(time * 1000);

	@who = $self->running_servers if !@who;
	$who[0]->wait_for(sub { ($who[0]->http('PUT', "/v1/kv/$key", 'x'))[0] == 200 }) or die "no write goes through:\n" . $self->logs;
	for my $n (@who) {
		$n->wait_for(sub { ($n->http('GET', "/v1/kv/$key?stale"))[0] == 200 }, $Node::TIMEOUT * 2)
			or die "$n->{name} does not follow:\n" . $self->logs;
	}
	return 1;
}

# SIGKILL to every process of the node at once, as when the machine dies: nobody says goodbye.
sub crash
{
	my ($self, @nodes) = @_;
	my %pids = map { $_->{pid} => { $_->pids } } @nodes;

	# The supervisor first would have its daemons end in an orderly way.
	CORE::kill('STOP', keys %pids);
	CORE::kill('KILL', map { values %$_ } values %pids);
	CORE::kill('KILL', keys %pids);
	$_->wait_exit for @nodes;
	my @all = map { values %$_ } values %pids;
	$nodes[0]->wait_for(sub { !Node::alive(@all) }, 5);
}

# The daemon of a node by name.
sub pid { my ($self, $n, $daemon) = @_; my %p = $n->pids; return $p{$daemon} }

sub logs
{
	my ($self) = @_;

	return CORE::join '', map { my $n = $_; my @l = grep { !/Request finished/ } split /\n/, $n->log_text . $n->err_text;
		@l = @l[-60 .. -1] if @l > 60;
		map { "$n->{name} $_\n" } @l } $self->nodes;
}

# ---- namespaces

sub _run
{
	my (@cmd) = @_;

	system(@cmd) == 0 or die "@cmd: failed";
}

sub _bridge
{
	my ($self) = @_;

	_run(qw(ip link set lo up));
	_run('ip', 'link', 'add', "br$self->{n}", 'type', 'bridge');
	_run('ip', 'addr', 'add', "$self->{prefix}.254/24", 'dev', "br$self->{n}");
	_run('ip', 'link', 'set', "br$self->{n}", 'up');
}

# A namespace that lives as long as a process of ours; a pair of interfaces into the bridge. The command that enters it.
sub _link
{
	my ($self, $i, $ip) = @_;
	my ($here, $there) = ("v$self->{n}_$i", "w$self->{n}_$i");
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		exec 'unshare', '-n', 'sleep', 'infinity' or POSIX::_exit(126);
	}
	push @{$self->{holders}}, $pid;
	for (1 .. 1000) {
		last if (readlink("/proc/$pid/ns/net") // '') ne readlink('/proc/self/ns/net');
		sleep 0.01;
	}
	_run('ip', 'link', 'add', $here, 'type', 'veth', 'peer', 'name', $there, 'netns', $pid);
	_run('ip', 'link', 'set', $here, 'master', "br$self->{n}", 'up');
	_run('nsenter', '-n', "-t$pid", 'ip', 'link', 'set', 'lo', 'up');
	_run('nsenter', '-n', "-t$pid", 'ip', 'addr', 'add', "$ip/24", 'dev', $there);
	_run('nsenter', '-n', "-t$pid", 'ip', 'link', 'set', $there, 'up');
	return ['nsenter', '-n', "-t$pid"];
}

# Take the node off the network without a word to anybody, and put it back.
sub cut { my ($self, $n) = @_; _run('ip', 'link', 'set', $self->_interface($n), 'down') }
sub heal { my ($self, $n) = @_; _run('ip', 'link', 'set', $self->_interface($n), 'up') }

sub _interface
{
	my ($self, $n) = @_;
	my ($i) = $n->{ip} =~ /\.(\d+)$/;

	return "v$self->{n}_$i";
}

sub DESTROY
{
	my ($self) = @_;

	return if $$ != $self->{owner};
	local ($?, $@, $!);
	# Together: one after the other each would elect a new leader first.
	for my $n (grep { $_ && $_->running } @{$self->{nodes}}) {
		my %pids = $n->pids;
		CORE::kill('CONT', $_) for values %pids;
		CORE::kill('INT', $n->{pid});
	}
	$self->{nodes} = [];
	CORE::kill('KILL', $_), waitpid($_, 0) for @{$self->{holders} // []};
}

1;

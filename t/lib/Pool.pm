# Pool.pm - gossipd alone, several of them in one pool, with fast timers.
#
#	use lib "$ENV{SRCDIR}/t/lib";
#	use Pool;
#	my $pool = Pool->new;
#	my @n = map { $pool->add } 1 .. 3;
#	$n[$_]->join($n[0]) for 1, 2;
#	ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'all know all');
#
# Each member is a Frame::Daemon with an address of its own in 127/8 and the
# same ports as the others. It is gone when the object is.
package Pool;

use strict;
use warnings;
use Frame;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(sleep time);

our $TIMEOUT = $ENV{TEST_TIMEOUT} // 30;

my $count = 0;

# An address that no other test has: 127.x.y.z with the bits of the pid and a number.
sub address
{
	my $n = (($$ << 8) + $count++ % 256) & 0x3fffff;

	return join '.', 127, 128 + ($n >> 16), ($n >> 8) & 255, $n & 255;
}

# A port that is free on this address for TCP and UDP.
sub free_port
{
	my ($ip) = @_;

	for (1 .. 200) {
		my $p = 10000 + int rand 20000;
		my $t = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Listen => 1) or next;
		my $u = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Proto => 'udp') or next;
		return $p;
	}
	die 'no free port';
}

# new(slice => { what every member's config has }, fast => 0: timers as Consul's)
sub new
{
	my ($class, %o) = @_;
	my $first = address();
	my $self = bless { lan => free_port($first), wan => free_port($first), members => [], slice => $o{slice} // {}, n => 0 }, $class;
	my %fast = (gossip_interval => 20, gossip_nodes => 3, probe_interval => 100, probe_timeout => 50, retransmit_mult => 4, suspicion_mult => 4);

	$self->{timers} = { gossip_lan => { %fast }, gossip_wan => { %fast }, retry_interval => 200, retry_interval_wan => 200 }
		if !defined $o{fast} || $o{fast};
	return $self;
}

# The slice of a member: add(%changes).
sub slice
{
	my ($self, %c) = @_;
	my $n = ++$self->{n};
	my $ip = $c{bind_addr} // address();
	my $server = delete $c{server} // 1;

	return {
		node_name => "n$n", node_id => sprintf('4b1f7f0c-%04x-4d0e-8000-%012x', $n, $$), datacenter => 'dc1',
		server => $server ? JSON::PP::true : JSON::PP::false, bind_addr => $ip, advertise_addr => $ip, log_level => 'DEBUG',
		ports => { serf_lan => $self->{lan}, serf_wan => $self->{wan}, server => 8300 },
		%{$self->{timers} // {}}, %{$self->{slice}}, %c,
	};
}

# Start one more; server => 0: a client; start => 0: the slice alone; tmp => the directory of an earlier one.
sub add
{
	my ($self, %c) = @_;
	my %o = map { exists $c{$_} ? ($_ => delete $c{$_}) : () } qw(tmp ready);
	my $slice = $self->slice(%c);
	my $m = Frame::Daemon->new('gossipd', $slice, %o);

	bless $m, 'Pool::Member';
	$m->{slice} = $slice;
	$m->{node} = $slice->{node_name};
	$m->{ip} = $slice->{bind_addr};
	$m->{lan} = $self->{lan};
	$m->{wan} = $self->{wan};
	push @{$self->{members}}, $m;
	return $m;
}

# n members that have joined the first.
sub form
{
	my ($self, $n, %c) = @_;
	my @m = map { $self->add(%c) } 1 .. $n;

	$m[$_]->join($m[0]) for 1 .. $n - 1;
	return @m;
}

# Until every running member (or those given) sees exactly these: { name => status }.
sub wait_members
{
	my ($self, $want, @of) = @_;

	@of = grep { $_->{pid} } @{$self->{members}} if !@of;
	return Pool::until(sub { !grep { !$_->sees($want) } @of }) || Pool::tell(@of);
}

# Says what they see instead; false.
sub tell
{
	my (@of) = @_;

	for my $m (@of) {
		my $s = $m->status;
		print STDERR "# $m->{node} sees ", join(' ', map { "$_=$s->{$_}" } sort keys %$s), "\n";
	}
	return 0;
}

# Until the condition holds; its value, or false after the time.
sub until
{
	my ($cond, $seconds) = @_;
	my $end = time + ($seconds // $TIMEOUT);

	while (1) {
		my $v = $cond->();
		return $v if $v;
		return 0 if time > $end;
		sleep 0.03;
	}
}

package Pool::Member;

use strict;
use warnings;

our @ISA = ('Frame::Daemon');

# The answer's payload; dies with the error's text.
sub want
{
	my ($self, $op, $request, $options) = @_;
	my ($meta, $r) = $self->ask($op, $request, $options);

	die "$self->{node}: $op: $r->{Text}\n" if !defined $meta;
	return $r;
}

sub address { return "$_[0]{ip}:$_[0]{lan}" }
sub wan_address { return "$_[0]{ip}:$_[0]{wan}" }

# Join members (or addresses); how many were contacted.
sub join
{
	my ($self, @to) = @_;

	return $self->want('gossip.join', { Addrs => [map { ref $_ ? $_->address : $_ } @to] });
}

sub members
{
	my ($self, $wan) = @_;

	return $self->want('gossip.members', $wan ? { WAN => JSON::PP::true } : {});
}

# { name => status }
sub status
{
	my ($self, $wan) = @_;

	return { map { $_->{Name} => $_->{Status} } @{$self->members($wan)} };
}

sub sees
{
	my ($self, $want, $wan) = @_;
	my $s = $self->status($wan);

	return CORE::join(',', map { "$_=$s->{$_}" } sort keys %$s) eq CORE::join(',', map { "$_=$want->{$_}" } sort keys %$want);
}

sub info { return $_[0]->want('daemon.info') }

# A counter of its section in info.
sub count
{
	my ($self, $name) = @_;

	return $self->info->{gossipd}{$name} // die "no counter $name";
}

# The bytes of a file in its directory, '' when there is none.
sub file
{
	my ($self, $name) = @_;

	open my $f, '<:raw', "$self->{dir}/$name" or return '';
	local $/;
	return <$f> // '';
}

# Start it again, after stop() or as a new process: its directory and config are the same.
sub restart
{
	my ($self, %changes) = @_;

	$self->stop('TERM') if $self->{pid};
	$self->{slice} = { %{$self->{slice}}, %changes };
	$self->write_slice($self->{slice});
	unlink "$self->{dir}/gossipd.sock";
	$self->spawn;
	$self->connect;
	return $self;
}

# What a sanitizer or the daemon itself calls an error.
sub errors
{
	my ($self) = @_;
	my $log = $self->log;

	return CORE::join "\n", grep { /\[ERROR\]|runtime error|Sanitizer|\[ERR\]/ } split /\n/, $log;
}

1;

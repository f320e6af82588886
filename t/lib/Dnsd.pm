# Dnsd.pm - dnsd alone, beside a raftd that knows what a file says
# (t/tool/fake_raftd), for a test script.
#
#	my $d = Dnsd->new({ services => {...}, nodes => {...} }, { dns_config => {...} });
#	Dns::ask($d, 'web.service.consul', 'A');
package Dnsd;

use strict;
use warnings;
use Frame;
use JSON::PP ();
use Node;
use Time::HiRes qw(sleep time);

our @ISA = ('Frame::Daemon');

sub new
{
	my ($class, $data, $config, %o) = @_;
	my $ip = Node::_address();
	my $port = Node::_free_port($ip);
	my %slice = (datacenter => 'dc1', domain => 'consul.', node_name => 'n1', log_level => 'debug',
		addresses => { dns => [$o{listen} // $ip] }, ports => { dns => $port }, %{$config // {}});
	my $self = Frame::Daemon->new('dnsd', \%slice);

	bless $self, $class;
	# It answers from its loop, which begins when the listeners are bound.
	$self->ask('daemon.info');
	@$self{qw(ip ports slice)} = ($ip, { dns => $port }, \%slice);
	$self->data($data);
	$self->raftd unless $o{no_raftd};
	return $self;
}

# One health entry: entry('web', 'node1', '10.0.0.1', { Port => 80 }, 'passing').
sub entry
{
	my ($service, $node, $address, $more, @checks) = @_;

	return { Node => { Node => $node, Address => $address }, Service => { Service => $service, %{$more // {}} },
		Checks => [map { { CheckID => "c$_", Status => $checks[$_] } } 0 .. $#checks] };
}

# What raftd knows; a running one is told.
sub data
{
	my ($self, $data) = @_;

	Node::write_file("$self->{dir}/data.json", JSON::PP->new->encode($data));
	kill HUP => $self->{raftd_pid} if $self->{raftd_pid};
}

sub raftd
{
	my ($self) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		open STDERR, '>>', "$self->{dir}/raftd.log";
		exec "$Node::BUILDDIR/t/tool/fake_raftd", $self->{dir}, "$self->{dir}/data.json" or POSIX::_exit(127);
	}
	$self->{raftd_pid} = $pid;
	my $end = time + $Node::TIMEOUT;
	until (eval { Frame::Client->new("$self->{dir}/raftd.sock") } || time > $end) {
		sleep 0.01;
	}
}

sub kill_raftd
{
	my ($self) = @_;

	return if !$self->{raftd_pid};
	kill KILL => $self->{raftd_pid};
	waitpid delete $self->{raftd_pid}, 0;
}

# A new slice, read again.
sub reload
{
	my ($self, $change) = @_;

	$self->{slice} = { %{$self->{slice}}, %$change };
	$self->write_slice($self->{slice});
	return $self->ask('daemon.reload');
}

sub info { my ($self) = @_; return ($self->ask('daemon.info'))[1]{dnsd}; }

sub wait_for
{
	my ($self, $code, $seconds) = @_;
	my $end = time + ($seconds // $Node::TIMEOUT);
	my $v;

	while (!($v = $code->()) && time < $end) {
		sleep 0.01;
	}
	return $v;
}

sub DESTROY
{
	my ($self) = @_;

	return if $self->{owner} != $$;
	local $?;
	$self->kill_raftd;
	$self->SUPER::DESTROY;
}

1;

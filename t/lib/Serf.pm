# Serf.pm - Debian's serf agents for a test script, in one pool with gossipd.
#
#	use lib "$ENV{SRCDIR}/t/lib";
#	use Serf;
#	my $pool = Serf::Pool->new(key => $base64);
#	my $a = $pool->serf('alpha', tags => { role => 'web' });
#	my $b = $pool->gossipd('beta');
#	$pool->wait_agree;
#
# Members have addresses of one /24 in 127/8 and the same ports; all end with the pool.
package Serf;

use strict;
use warnings;
use Frame;
use JSON::PP ();
use MIME::Base64 ();
use POSIX ();
use Time::HiRes qw(sleep time);

# A member that was killed is not to end the script.
$SIG{PIPE} = 'IGNORE';

sub available { return system('command -v serf >/dev/null 2>&1') == 0 }

# ---- one serf agent

package Serf::Agent;

use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(sleep time);

sub new
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, kind => 'serf', tags => {}, %o }, $class;

	$self->{dir} = "$o{dir}/$o{name}";
	mkdir $self->{dir};
	if ($o{keys}) {
		open my $f, '>', "$self->{dir}/keyring" or die "keyring: $!";
		print $f JSON::PP->new->encode($o{keys});
		close $f;
	}
	$self->start;
	return $self;
}

sub start
{
	my ($self) = @_;
	my @cmd = ('serf', 'agent', "-node=$self->{name}", "-bind=$self->{ip}:$self->{port}", "-rpc-addr=$self->{ip}:$self->{rpc}",
		'-profile=local', '-log-level=debug', "-snapshot=$self->{dir}/snapshot");

	push @cmd, map { "-tag=$_=$self->{tags}{$_}" } sort keys %{$self->{tags}};
	push @cmd, "-keyring-file=$self->{dir}/keyring" if $self->{keys};
	push @cmd, map { "-event-handler=$_" } @{$self->{handlers} // []};
	push @cmd, "-join=$self->{join}" if $self->{join};
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/log";
		open STDERR, '>&', \*STDOUT;
		exec @cmd or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	# The RPC answers when the agent has started.
	$self->{pool}->until(sub { $self->members }, 'a serf agent answers') or die $self->log;
}

sub log
{
	my ($self) = @_;

	open my $f, '<', "$self->{dir}/log" or return '';
	local $/;
	return <$f> // '';
}

# Run `serf COMMAND -rpc-addr=... ARGS`; its exit code and output.
sub run
{
	my ($self, $command, @args) = @_;
	my @command = split / /, $command;
	my $pid = open(my $out, '-|') // die "fork: $!";

	if ($pid == 0) {
		open STDERR, '>&', \*STDOUT;
		exec('serf', @command, "-rpc-addr=$self->{ip}:$self->{rpc}", @args) or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return ($? >> 8, $text);
}

# { name => { status, addr, tags } }, or undef when it does not answer
sub members
{
	my ($self) = @_;
	my ($code, $text) = $self->run('members', '-format=json');
	my $list = $code == 0 ? eval { JSON::PP::decode_json($text) } : undef;

	return undef if !$list;
	return { map { $_->{name} => { status => $_->{status}, addr => $_->{addr}, tags => $_->{tags} } } @{$list->{members}} };
}

sub leave { my ($self) = @_; $self->run('leave'); $self->_wait }

sub kill
{
	my ($self, $signal) = @_;

	CORE::kill($signal // 'KILL', $self->{pid}) if $self->{pid};
	$self->_wait;
}

sub _wait
{
	my ($self) = @_;

	return if !$self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
}

sub DESTROY
{
	my ($self) = @_;

	return if $self->{owner} != $$ || !$self->{pid};
	local ($?, $!);
	$self->kill;
}

# ---- one gossipd alone

package Serf::Gossipd;

use strict;
use warnings;

my @status = qw(none alive leaving left failed);

sub new
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, kind => 'gossipd', %o }, $class;

	$self->{slice} = {
		node_name => $o{name}, node_id => sprintf('%08x-0000-4000-8000-%012x', $$, $o{number}), datacenter => 'dc1', server => JSON::PP::false,
		bind_addr => $o{ip}, advertise_addr => $o{ip}, log_level => 'DEBUG', ports => { serf_lan => $o{port} },
		gossip_lan => { gossip_interval => 100, gossip_nodes => 3, probe_interval => 1000, probe_timeout => 200, retransmit_mult => 2,
			suspicion_mult => 3 },
		encrypt => '', encrypt_verify_incoming => JSON::PP::true, encrypt_verify_outgoing => JSON::PP::true,
		start_join => $o{join} ? [$o{join}] : [], data_dir => "$o{dir}/$o{name}-data", %{$o{slice} // {}},
	};
	mkdir $self->{slice}{data_dir};
	if ($o{keys}) {
		mkdir "$self->{slice}{data_dir}/serf";
		open my $f, '>', "$self->{slice}{data_dir}/serf/local.keyring" or die "keyring: $!";
		chmod 0600, $f;
		print $f JSON::PP->new->encode($o{keys});
		close $f;
	}
	$self->{d} = Frame::Daemon->new('gossipd', $self->{slice});
	return $self;
}

sub log { return $_[0]{d}->log }
sub ask { my $self = shift; return $self->{d}->ask(@_) }

sub members
{
	my ($self) = @_;
	my ($meta, $list) = eval { $self->{d}->ask('gossip.members', {}) };

	return undef if !$meta;
	return { map { $_->{Name} => { status => $status[$_->{Status}], addr => "$_->{Addr}:$_->{Port}", tags => $_->{Tags} } } @$list };
}

# As consulctl's leave: gossip.leave, then the end.
sub leave { my ($self) = @_; my ($m) = $self->{d}->ask('gossip.leave'); $self->{d}->stop; $self->{stopped} = 1; return defined $m }
sub kill { my ($self, $signal) = @_; $self->{d}->stop($signal // 'KILL'); $self->{stopped} = 1 }
sub start { my ($self) = @_; $self->{d}->spawn; $self->{d}->connect; $self->{stopped} = 0 }

# ---- the pool

package Serf::Pool;

use strict;
use warnings;
use File::Temp ();
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

my $pools = 0;
our $TIMEOUT = $ENV{TEST_TIMEOUT} // 60;

sub new
{
	my ($class, %o) = @_;
	my $id = ((($$ << 1) + $pools++ % 2) ^ 0x2000) & 0x3fff;
	my $self = bless { %o, members => [], number => 0, gone => {}, tmp => File::Temp->newdir("serf-$$-XXXXXX", TMPDIR => 1) }, $class;

	$self->{net} = join '.', 127, 192 + ($id >> 8 & 63), $id & 255;
	$self->{port} = _free_port("$self->{net}.1");
	$self->{rpc} = _free_port("$self->{net}.1");
	return $self;
}

sub _free_port
{
	my ($ip) = @_;

	for (1 .. 200) {
		my $p = 10000 + int rand 20000;
		my $t = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Listen => 1) or next;
		my $u = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Proto => 'udp') or next;
		return $p;
	}
	die "no free port on $ip";
}

sub _options
{
	my ($self, $name, %o) = @_;
	my $number = ++$self->{number};
	my ($through) = grep { !$self->{gone}{$_->{name}} } @{$self->{members}};

	delete $self->{gone}{$name};
	return (name => $name, number => $number, ip => "$self->{net}.$number", port => $self->{port}, rpc => $self->{rpc}, dir => "$self->{tmp}",
		pool => $self, ($self->{keys} ? (keys => [@{$self->{keys}}]) : ()), ($through ? (join => "$through->{ip}:$self->{port}") : ()), %o);
}

# One more, through the first that is there.
sub serf { my ($self, $name, %o) = @_; push @{$self->{members}}, my $m = Serf::Agent->new($self->_options($name, %o)); return $m }
sub gossipd { my ($self, $name, %o) = @_; push @{$self->{members}}, my $m = Serf::Gossipd->new($self->_options($name, %o)); return $m }

sub running { my ($self) = @_; return grep { !$self->{gone}{$_->{name}} } @{$self->{members}} }

sub leave { my ($self, $m) = @_; $self->{gone}{$m->{name}} = 'left'; return $m->leave }
sub kill { my ($self, $m) = @_; $self->{gone}{$m->{name}} = 'failed'; $m->kill }
sub start { my ($self, $m) = @_; delete $self->{gone}{$m->{name}}; $m->start }

# What everybody should say: { name => status }
sub truth
{
	my ($self) = @_;

	return { map { $_->{name} => $self->{gone}{$_->{name}} // 'alive' } @{$self->{members}} };
}

# Where a member's view differs from the truth; '' when nowhere.
sub disagreement
{
	my ($self) = @_;
	my $truth = $self->truth;

	for my $m ($self->running) {
		my $seen = $m->members or return "$m->{name} does not answer";
		for my $name (keys %$truth) {
			my $is = ($seen->{$name} // { status => 'unknown' })->{status};
			# Who restarts may not know those that were gone before.
			next if $is eq 'unknown' && $truth->{$name} ne 'alive';
			return "$m->{name} says $name is $is, not $truth->{$name}" if $is ne $truth->{$name};
		}
	}
	return '';
}

# Wait for a condition; false after too long.
sub until
{
	my ($self, $condition, $what) = @_;
	my $end = time + $TIMEOUT;

	while (1) {
		my $r = $condition->();
		return $r if $r;
		return 0 if time > $end;
		sleep 0.05;
	}
}

sub wait_agree
{
	my ($self) = @_;
	my $why = '';

	return 1 if $self->until(sub { ($why = $self->disagreement) eq '' });
	Test::More::diag($why);
	return 0;
}

1;

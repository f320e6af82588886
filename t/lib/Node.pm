# Node.pm - one node (consulctl agent and its daemons) for a test script.
#
#	use lib "$ENV{SRCDIR}/t/lib";
#	use Node;
#	my $n = Node->new(dev => 1, config => { ... }, args => ['-log-level=debug']);
#	my ($status, $headers, $body) = $n->http('PUT', '/v1/kv/a', 'x');
#
# Each node has an address of its own in 127/8, free ports on it and a
# private directory; all of it is gone when the object is.
package Node;

use strict;
use warnings;
use Cwd ();
use Errno qw(EINTR);
use File::Path ();
use File::Temp ();
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(sleep time);

our $BUILDDIR = Cwd::abs_path($ENV{BUILDDIR} // '.');
our $SRCDIR = Cwd::abs_path($ENV{SRCDIR} // '.');
my $count = 0;

# Sanitizers and a busy machine are slow: every wait of a test is this long at most.
our $TIMEOUT = $ENV{TEST_TIMEOUT} // 30;

# new(%options)
#   dev => 1		-dev, nothing on disk; else a single durable server in its data_dir
#   client => 1		or a client node
#   config => {}	merged over the defaults, written as a config file
#   config_dir => {}	more files for a config directory: name => text or structure
#   args => []		more flags
#   env => {}		more environment
#   name => 'n1'	node name
#   ip => ADDR		its address (default: one of its own in 127/8)
#   wrap => []		a command that starts it, in front of its own
#   dir => PATH		a directory that is there and stays (default: a temporary one)
#   wait => 'leader'	'leader' (default), 'http' (any answer), 'agent' (every daemon ready), 'none'
#   start => 0		only prepare
# Dies with the log when the node does not come up.
sub new
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, %o }, $class;

	$self->{ip} //= _address();
	$self->{name} //= 'node' . $count;
	$self->{tmp} = File::Temp->newdir("node-$$-XXXXXX", TMPDIR => 1) if !defined $o{dir};
	$self->{dir} //= "$self->{tmp}";
	$self->{data_dir} = "$self->{dir}/data";
	$self->{log} = "$self->{dir}/log";
	$self->{err} = "$self->{dir}/err";
	$self->{ports} //= { map { $_ => _free_port($self->{ip}) } qw(dns http server serf_lan serf_wan) };
	$self->write_config;
	$self->start unless defined $o{start} && !$o{start};
	return $self;
}

# 24 bits of 127/8, unique to this process and node (a pid has 22 bits at most).
sub _address
{
	my $n = ((($$ << 2) + $count++ % 4) ^ 0x400000) & 0xffffff;

	$n += 0x10001 if ($n & 0xff) == 0 || ($n & 0xff) == 0xff;
	return join '.', 127, ($n >> 16) & 255, ($n >> 8) & 255, $n & 255;
}

# Below the ephemeral range, free for TCP and UDP.
my %taken;
sub _free_port
{
	my ($ip) = @_;

	for (1 .. 1000) {
		my $port = 10000 + int rand 20000;
		next if $taken{"$ip:$port"};
		my $t = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $port, Listen => 1, ReuseAddr => 1) or next;
		my $u = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $port, Proto => 'udp') or next;
		$taken{"$ip:$port"} = 1;
		return $port;
	}
	die "no free port on $ip";
}

sub _merge
{
	my ($into, $from) = @_;

	for my $k (keys %$from) {
		if (ref $from->{$k} eq 'HASH' && ref $into->{$k} eq 'HASH') {
			_merge($into->{$k}, $from->{$k});
		} else {
			$into->{$k} = $from->{$k};
		}
	}
	return $into;
}

sub write_file
{
	my ($path, $text) = @_;

	open my $f, '>', "$path.tmp" or die "$path: $!";
	binmode $f;
	print $f $text;
	close $f or die "$path: $!";
	rename "$path.tmp", $path or die "$path: $!";
}

# Write the files of the configuration; again with changes before a reload: $n->write_config({log_level => 'warn'}).
sub write_config
{
	my ($self, $change) = @_;
	my %c = (
		node_name => $self->{name}, bind_addr => $self->{ip}, client_addr => $self->{ip},
		log_level => 'debug', ports => { %{$self->{ports}} },
	);

	$self->{config} = _merge($self->{config} // {}, $change) if $change;
	$c{data_dir} = $self->{data_dir} unless $self->{dev};
	%c = (%c, server => JSON::PP::true, bootstrap_expect => 1) unless $self->{dev} || $self->{client};
	_merge(\%c, $self->{config} // {});
	mkdir $self->{dir};
	write_file("$self->{dir}/config.json", JSON::PP->new->canonical->pretty->encode(\%c));
	return if !$self->{config_dir};
	$self->config_dir_file($_, $self->{config_dir}{$_}) for keys %{$self->{config_dir}};
}

# A file of the config directory (made when first used): text, a structure, or undef to remove it.
sub config_dir_file
{
	my ($self, $name, $content) = @_;

	$self->{config_dir} //= {};
	mkdir "$self->{dir}/conf.d";
	if (!defined $content) {
		unlink "$self->{dir}/conf.d/$name";
		return;
	}
	write_file("$self->{dir}/conf.d/$name", ref $content ? JSON::PP->new->canonical->encode($content) : $content);
}

sub command
{
	my ($self) = @_;
	my @cmd = (@{$self->{wrap} // []}, $self->{program} // "$BUILDDIR/consulctl/consulctl", 'agent');

	push @cmd, '-dev' if $self->{dev};
	push @cmd, "-config-file=$self->{dir}/config.json";
	push @cmd, "-config-dir=$self->{dir}/conf.d" if $self->{config_dir};
	return (@cmd, @{$self->{args} // []});
}

# Start it (again); logs are appended.
sub start
{
	my ($self) = @_;
	my @cmd = $self->command;
	my $pid;

	die "already running" if $self->{pid};
	$self->{log_from} = -s $self->{log} // 0;
	$pid = fork // die "fork: $!";
	if ($pid == 0) {
		my $ok = open(STDIN, '<', '/dev/null') && open(STDOUT, '>>', $self->{log}) && open(STDERR, '>>', $self->{err});
		$ENV{TMPDIR} = $self->{dir};
		$ENV{$_} = $self->{env}{$_} for keys %{$self->{env} // {}};
		$ok && exec { $cmd[0] } @cmd or POSIX::_exit(126);
	}
	$self->{pid} = $pid;
	$self->{started} = time;
	$self->wait_ready($self->{wait} // 'leader');
}

sub wait_ready
{
	my ($self, $what) = @_;
	my $ok;

	return if $what eq 'none';
	$ok = $self->wait_for(sub {
		$self->running or return 1;
		return $self->log_text =~ /All daemons are ready/ if $what eq 'agent';
		my ($status, undef, $body) = $self->http('GET', '/v1/status/leader');
		return $status == 200 && $body =~ /"[^"]+:/ if $what eq 'leader';
		return $status != 599;
	});
	return if $ok && $self->running;
	my $text = $self->log_text . $self->err_text;
	$self->kill;
	die "the node did not become ready ($what):\n$text";
}

# Poll until the code returns true; its value, or false after $Node::TIMEOUT (or $seconds).
sub wait_for
{
	my ($self, $code, $seconds) = @_;
	my $end = time + ($seconds // $TIMEOUT);
	my $v;

	while (!($v = $code->()) && time < $end) {
		sleep 0.01;
	}
	return $v;
}

# Whether the supervisor is there; $n->{status} is its wait status once it is not.
sub running
{
	my ($self) = @_;

	return 0 if !$self->{pid};
	my $rc = waitpid $self->{pid}, POSIX::WNOHANG();
	return 1 if $rc == 0;
	$self->{status} = $?;
	$self->{pid} = undef;
	return 0;
}

# (status, headers with lower-case names, body); status 599 when there was no answer.
sub http
{
	my ($self, $method, $path, $body, $headers) = @_;
	my %o;

	local $@;
	$o{content} = ref $body ? JSON::PP->new->canonical->encode($body) : $body if defined $body;
	$o{headers} = $headers if $headers;
	$self->{ua} //= HTTP::Tiny->new(timeout => $TIMEOUT, max_redirect => 0, keep_alive => 0);
	my $r = $self->{ua}->request($method, $self->url($path), \%o);
	return ($r->{status}, $r->{headers}, $r->{content});
}

sub url { my ($self, $path) = @_; return "http://$self->{ip}:$self->{ports}{http}" . ($path // ''); }

# The body of a GET decoded from JSON (undef for null); dies unless 200.
sub get_json
{
	my ($self, $path) = @_;
	my ($status, undef, $body) = $self->http('GET', $path);

	die "GET $path: $status $body" if $status != 200;
	return JSON::PP->new->allow_nonref->decode($body);
}

# The output of dig for a question to this node: $n->dig('web.service.consul', 'SRV', '+short').
sub dig
{
	my ($self, @args) = @_;
	my ($rc, $out) = _run({}, 'dig', "\@$self->{ip}", '-p', $self->{ports}{dns}, '+time=2', '+tries=3', @args);

	return $out;
}

# (exit code, stdout, stderr) of consulctl ARGS talking to this node.
sub ctl
{
	my ($self, @args) = @_;

	return _run({ CONSUL_HTTP_ADDR => "$self->{ip}:$self->{ports}{http}" }, "$BUILDDIR/consulctl/consulctl", @args);
}

# (exit code or 128 + signal, stdout, stderr) of any program.
sub _run
{
	my ($env, @cmd) = @_;
	my ($out, $err) = (File::Temp->new, File::Temp->new);

	local $?;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$ENV{$_} = $env->{$_} for keys %$env;
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $out);
		open(STDERR, '>&', $err);
		exec { $cmd[0] } @cmd or POSIX::_exit(126);
	}
	1 while waitpid($pid, 0) < 0 && $! == EINTR;
	my $rc = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return ($rc, _slurp("$out"), _slurp("$err"));
}

sub _slurp
{
	my ($path, $from) = @_;

	open my $f, '<', $path or return '';
	binmode $f;
	seek $f, $from // 0, 0;
	local $/;
	return scalar(<$f>) // '';
}

# What was written since the last start.
sub log_text { my ($self) = @_; return _slurp($self->{log}, $self->{log_from}); }
sub err_text { my ($self) = @_; return _slurp($self->{err}); }

sub wait_log
{
	my ($self, $re, $seconds) = @_;

	return $self->wait_for(sub { $self->log_text =~ $re }, $seconds);
}

# name => pid of the running daemons.
sub pids
{
	my ($self) = @_;
	my %pids;

	return () if !$self->{pid};
	for my $pid (split ' ', _slurp("/proc/$self->{pid}/task/$self->{pid}/children")) {
		my $comm = _slurp("/proc/$pid/comm");
		chomp $comm;
		$pids{$comm} = $pid if $comm ne '';
	}
	return %pids;
}

# Those of these pids that still run (a zombie that init has not reaped yet does not).
sub alive
{
	my (@pids) = @_;

	return grep { _slurp("/proc/$_/stat") =~ /\) [^ZX] / } @pids;
}

sub signal
{
	my ($self, $sig) = @_;

	die "not running" if !$self->{pid};
	CORE::kill($sig, $self->{pid});
}

# A file's worth of new configuration, then SIGHUP.
sub reload
{
	my ($self, $change) = @_;

	$self->write_config($change);
	$self->signal('HUP');
}

# Wait for the end; the exit code (128 + signal when killed), undef when it did not end in time.
sub wait_exit
{
	my ($self, $seconds) = @_;

	$self->wait_for(sub { !$self->running }, $seconds) or return undef;
	return undef if !defined $self->{status};
	return $self->{status} & 127 ? 128 + ($self->{status} & 127) : $self->{status} >> 8;
}

# Ask it to end (INT: without leaving), and wait.
sub stop
{
	my ($self, $sig) = @_;

	return undef if !$self->running;
	$self->signal($sig // 'INT');
	return $self->wait_exit;
}

# SIGKILL to the supervisor; its daemons must follow by themselves.
sub kill
{
	my ($self) = @_;

	return if !$self->running;
	my %pids = $self->pids;
	CORE::kill('KILL', $self->{pid});
	$self->wait_exit;
	$self->wait_for(sub { !alive(values %pids) }, 5);
	return %pids;
}

sub DESTROY
{
	my ($self) = @_;

	return if $$ != $self->{owner};
	local ($?, $@, $!);
	my %pids = $self->running ? $self->pids : ();
	if ($self->{pid}) {
		CORE::kill('INT', $self->{pid});
		defined $self->wait_exit(5) or $self->kill;
	}
	CORE::kill('KILL', $_) for grep { _slurp("/proc/$_/environ") =~ /\Q$self->{dir}\E/ } alive(values %pids);
	delete $self->{tmp};
}

1;

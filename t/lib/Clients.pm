# Clients.pm - other people's programs and libraries as clients of a node, for t/clients.
#
#	use Clients;
#	Clients::need(prometheus => '/usr/bin/prometheus');	# skips the whole test where it is not
#	my $p = Clients->start(dir => $dir, user => 'nobody', log => 'prometheus', cmd => [...]);
#	$p->text; $p->running; $p->stop;
#
# Each runs in the foreground as a child of the test, in a process group of its own, and dies with it.
package Clients;

use strict;
use warnings;
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);
use Node;

# The first of these paths that can be run, or skip the test for want of that Debian package.
sub need
{
	my ($package, @paths) = @_;

	for my $path (map { glob } @paths) {
		return $path if -x $path;
	}
	Test::More::plan(skip_all => "Debian's $package is not installed");
}

# A file's text, '' when it is not there.
sub slurp
{
	my ($path) = @_;

	open my $f, '<', $path or return '';
	local $/;
	return scalar(<$f>) // '';
}

# A private directory; of an ordinary user's when this is root, since some programs refuse root.
sub dir
{
	my ($user) = @_;
	my $dir = File::Temp->newdir("client-$$-XXXXXX", TMPDIR => 1);

	if (defined $user && $> == 0) {
		my (undef, undef, $uid, $gid) = getpwnam $user;
		chown $uid, $gid, "$dir" or die "chown $dir: $!";
	}
	return $dir;
}

# What runs a command as that user, if this is root, and ends it with this process, however that ends.
sub as_user
{
	my ($user) = @_;
	my @with = ('setpriv', '--pdeathsig=TERM');

	return @with if !defined $user || $> != 0;
	my (undef, undef, $uid, $gid) = getpwnam $user or die "no user $user";
	return (@with, "--reuid=$uid", "--regid=$gid", '--clear-groups', '--no-new-privs');
}

sub _exec
{
	my ($env, $out, $dir, @cmd) = @_;

	POSIX::setpgid(0, 0);
	$ENV{$_} = $env->{$_} for keys %{$env // {}};
	my $ok = open(STDIN, '<', '/dev/null') && open(STDOUT, '>>', $out) && open(STDERR, '>&', \*STDOUT) && chdir $dir;
	$ok && exec { $cmd[0] } @cmd or POSIX::_exit(126);
}

# start(cmd => [...], dir => DIR, log => NAME, user => USER, env => {}): in the foreground, its output in DIR/NAME.log
sub start
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, %o }, $class;

	$self->{path} = "$o{dir}/$o{log}.log";
	my $pid = fork // die "fork: $!";
	_exec($o{env}, $self->{path}, $o{dir}, as_user($o{user}), @{$o{cmd}}) if $pid == 0;
	POSIX::setpgid($pid, $pid);
	$self->{pid} = $pid;
	return $self;
}

# Run to its end, within a time: (exit code, what it said).
sub run
{
	my ($class, %o) = @_;
	my $self = $class->start(%o);
	my $end = time + ($o{seconds} // $Node::TIMEOUT);

	sleep 0.02 while $self->running && time < $end;
	if ($self->running) {
		$self->kill;
		return (-1, $self->text . "\n(not done after its time)\n");
	}
	return ($self->{status} & 127 ? 128 + ($self->{status} & 127) : $self->{status} >> 8, $self->text);
}

sub text { my ($self) = @_; return slurp($self->{path}); }

sub running
{
	my ($self) = @_;

	return 0 if !$self->{pid};
	return 1 if waitpid($self->{pid}, POSIX::WNOHANG()) == 0;
	$self->{status} = $?;
	$self->{pid} = undef;
	return 0;
}

# Run a script that prints TAP itself, as this test's own output, within a time; its exit code.
sub tap
{
	my ($class, %o) = @_;
	my $self = bless { owner => $$, path => '/dev/null' }, $class;
	my $end = time + ($o{seconds} // 240);

	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$ENV{$_} = $o{env}{$_} for keys %{$o{env} // {}};
		open(STDIN, '<', '/dev/null') && exec { $o{cmd}[0] } @{$o{cmd}} or POSIX::_exit(126);
	}
	$self->{pid} = $pid;
	sleep 0.05 while $self->running && time < $end;
	if ($self->running) {
		$self->kill;
		print "Bail out! the script was not done after its time\n";
		return -1;
	}
	return $self->{status} & 127 ? 128 + ($self->{status} & 127) : $self->{status} >> 8;
}

# Every process below that one (itself too): a program's children may be in groups of their own.
sub tree
{
	my ($pid) = @_;
	my @all = ($pid);

	for (my $i = 0; $i < @all && $i < 1000; $i++) {
		push @all, split ' ', slurp($_) for glob "/proc/$all[$i]/task/*/children";
	}
	return @all;
}

# SIGKILL to it and to everything that it started.
sub kill
{
	my ($self) = @_;

	return if !$self->running;
	my @all = tree($self->{pid});
	CORE::kill('KILL', @all);
	for (1 .. 500) {
		last if !$self->running && !Node::alive(@all);
		sleep 0.01;
	}
}

# Ask it to end; SIGKILL when it does not.
sub stop
{
	my ($self, $seconds) = @_;
	my $end = time + ($seconds // 10);

	return if !$self->running;
	my @all = tree($self->{pid});
	CORE::kill('TERM', $self->{pid});
	sleep 0.02 while $self->running && time < $end;
	$self->kill;
	CORE::kill('KILL', Node::alive(@all));
}

sub DESTROY
{
	my ($self) = @_;

	return if $$ != $self->{owner};
	local ($?, $@, $!);
	$self->stop(5);
}

# ---- a small HTTP server, as a service's instance: answers its name, always

sub backend
{
	my ($ip, $name) = @_;
	my $l = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => Node::_free_port($ip), Listen => 64, ReuseAddr => 1) or die "listen: $!";
	my $parent = $$;
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		while (getppid == $parent) {
			my $c = IO::Select->new($l)->can_read(1) && $l->accept or next;
			while (defined(my $line = <$c>)) {
				last if $line !~ /\S/;
			}
			print $c "HTTP/1.1 200 OK\r\nContent-Length: " . length($name) . "\r\nConnection: close\r\n\r\n$name";
			close $c;
		}
		POSIX::_exit(0);
	}
	return bless { owner => $$, pid => $pid, port => $l->sockport, name => $name, ip => $ip }, 'Clients::Backend';
}

package Clients::Backend;

sub DESTROY
{
	my ($self) = @_;

	return if $$ != $self->{owner};
	local ($?, $@, $!);
	CORE::kill('KILL', $self->{pid});
	waitpid $self->{pid}, 0;
}

1;

# Ctl.pm - running consulctl in a test script.
#
#	use lib "$ENV{SRCDIR}/t/lib";
#	use Ctl;
#	my ($code, $out, $err) = ctl({ addr => $agent->addr }, 'kv', 'get', 'a');
#	my $job = ctl_start({ addr => ... }, 'lock', 'x', 'sleep 9');
#	$job->signal('INT'); my ($code, $out, $err) = $job->finish;
package Ctl;

use strict;
use warnings;
use Cwd ();
use Errno qw(EINTR);
use Exporter 'import';
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(ctl ctl_start ctl_path wait_until slurp spew);
my $BUILDDIR = Cwd::abs_path($ENV{BUILDDIR} // '.');
our $TIMEOUT = $ENV{TEST_TIMEOUT} // 30;

sub ctl_path { return "$BUILDDIR/consulctl/consulctl"; }

sub slurp
{
	my ($path) = @_;

	open my $f, '<', $path or return '';
	binmode $f;
	local $/;
	return scalar(<$f>) // '';
}

sub spew
{
	my ($path, $text) = @_;

	open my $f, '>', $path or die "$path: $!";
	binmode $f;
	print $f $text;
	close $f or die "$path: $!";
}

# Poll until the code returns true; its value.
sub wait_until
{
	my ($code) = @_;
	my ($end, $v) = (time + $TIMEOUT);

	while (!($v = $code->()) && time < $end) {
		sleep 0.01;
	}
	return $v;
}

# Options: addr (CONSUL_HTTP_ADDR), env {}, stdin (text), out (a file to write to).
sub ctl_start
{
	my ($o, @args) = @_;
	my %env = (map({ $_ => undef } grep { /^CONSUL_/ } keys %ENV), %{$o->{env} // {}});
	my $self = bless { owner => $$, out => File::Temp->new, err => File::Temp->new, in => File::Temp->new }, 'Ctl';

	$env{CONSUL_HTTP_ADDR} = $o->{addr} if defined $o->{addr};
	spew("$self->{in}", $o->{stdin}) if defined $o->{stdin};
	my $out = $o->{out} // "$self->{out}";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		defined $env{$_} ? ($ENV{$_} = $env{$_}) : delete $ENV{$_} for keys %env;
		open(STDIN, '<', "$self->{in}");
		open(STDOUT, '>', $out);
		open(STDERR, '>', "$self->{err}");
		exec { ctl_path() } ctl_path(), @args or POSIX::_exit(126);
	}
	$self->{pid} = $pid;
	return $self;
}

sub pid { return $_[0]{pid}; }
sub signal { my ($self, $sig) = @_; return CORE::kill($sig, $self->{pid}); }
sub output { return slurp("$_[0]{out}"); }
sub errors { return slurp("$_[0]{err}"); }

# Wait for its end: (exit code, or 128 + signal, or undef when it had to be killed; stdout; stderr).
sub finish
{
	my ($self) = @_;
	my $code;

	local $?;
	if (wait_until(sub { waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid} })) {
		$code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	} else {
		$self->signal('KILL');
		waitpid $self->{pid}, 0;
	}
	$self->{pid} = undef;
	return ($code, $self->output, $self->errors);
}

sub ctl { return ctl_start(@_)->finish; }

sub DESTROY
{
	my ($self) = @_;

	return if !$self->{pid} || $$ != $self->{owner};
	local ($?, $@, $!);
	$self->signal('KILL');
	waitpid $self->{pid}, 0;
}

1;

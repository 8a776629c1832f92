<#
.SYNOPSIS
Starts nabz-seat with this PC, as a scheduled task of the account LOCAL SERVICE, which may do almost nothing.

.DESCRIPTION
Run in PowerShell as administrator. The center's key is read from a file and copied to a place that only the task and
administrators may read; it never stands on a command line. Nothing is sent about people: `nabz-seat show` prints all.

.EXAMPLE
.\windows.ps1 -Gateway http://192.0.2.10:8471 -Name SEAT-01 -KeyFile E:\seat.key

.EXAMPLE
.\windows.ps1 -Remove
#>
[CmdletBinding(DefaultParameterSetName = 'Install')]
param(
    [Parameter(Mandatory, ParameterSetName = 'Install')][ValidatePattern('^http://[^/\s]+:\d+/?$')][string]$Gateway,
    [Parameter(Mandatory, ParameterSetName = 'Install')][ValidatePattern('^[A-Za-z0-9._-]{1,32}$')][string]$Name,
    [Parameter(Mandatory, ParameterSetName = 'Install')][string]$KeyFile,
    [Parameter(ParameterSetName = 'Install')][string]$Program = 'C:\Nabz\Scripts\nabz-seat.exe',
    [Parameter(Mandatory, ParameterSetName = 'Remove')][switch]$Remove
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$Task = 'Nabz seat'
$Folder = Join-Path $env:ProgramData 'Nabz'
$Key = Join-Path $Folder 'seat.key'
# Names of accounts are translated; their numbers are not.
$System, $Administrators, $LocalService = '*S-1-5-18', '*S-1-5-32-544', '*S-1-5-19'

function Remove-Seat {
    if (Get-ScheduledTask -TaskName $Task -ErrorAction SilentlyContinue) {
        Stop-ScheduledTask -TaskName $Task
        Unregister-ScheduledTask -TaskName $Task -Confirm:$false
    }
}

function Test-Administrator {
    $me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Protect-Folder {
    New-Item -ItemType Directory -Force -Path $Folder | Out-Null
    & icacls.exe $Folder /inheritance:r /grant:r "${System}:(OI)(CI)F" "${Administrators}:(OI)(CI)F" "${LocalService}:(OI)(CI)M" /Q | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "$Folder cannot be protected: icacls ended with $LASTEXITCODE" }
}

function Register-Seat {
    $words = "run --gateway $Gateway --name $Name --key-file `"$Key`" --state-dir `"$Folder`""
    $action = New-ScheduledTaskAction -Execute $Program -Argument $words -WorkingDirectory $Folder
    $trigger = New-ScheduledTaskTrigger -AtStartup
    $account = New-ScheduledTaskPrincipal -UserId 'S-1-5-19' -LogonType ServiceAccount -RunLevel Limited
    $settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -StartWhenAvailable `
        -MultipleInstances IgnoreNew -Priority 8 -ExecutionTimeLimit ([TimeSpan]::Zero) `
        -RestartCount 999 -RestartInterval (New-TimeSpan -Minutes 1)
    Register-ScheduledTask -TaskName $Task -Action $action -Trigger $trigger -Principal $account -Settings $settings `
        -Description 'Tells the gateway of this center how this PC is, nothing about who uses it.' -Force | Out-Null
    Start-ScheduledTask -TaskName $Task
}

if (-not (Test-Administrator)) { throw 'Run this in PowerShell as administrator.' }
if ($Remove) {
    Remove-Seat
    if (Test-Path $Folder) { Remove-Item -Recurse -Force $Folder }
    Write-Output 'nabz-seat no longer runs on this PC, and its key is gone.'
    return
}
if (-not (Test-Path -PathType Leaf $Program)) { throw "There is no $Program; install the program first or name it with -Program." }
if (-not (Test-Path -PathType Leaf $KeyFile)) { throw "There is no $KeyFile; save there what nabz-agent seat-key printed." }
Remove-Seat
Protect-Folder
Copy-Item -Force -Path $KeyFile -Destination $Key
Register-Seat
Write-Output "nabz-seat reports as $Name to $Gateway. Delete $KeyFile if nobody else needs it."

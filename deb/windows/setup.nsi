; The installer of a seat. It asks nothing:
;   nabz-seat-setup.exe /S /GATEWAY=192.0.2.10:8471 /NAME=SEAT-01 /KEYFILE=E:\seat.key
; What is not given comes from beside it: nabz-seat.ini ([seat] gateway=ADDRESS:PORT, name=), seat.key, update-root.json.
; Exit codes: 0 installed, 1 something failed, 2 wrong use. What it did is in %ProgramData%\Nabz\setup.log.
Unicode true
Target amd64-unicode
!include FileFunc.nsh
!include LogicLib.nsh
!define TASK "Nabz seat"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\Nabz seat"
Name "Nabz seat ${VERSION}"
OutFile "${OUT}"
InstallDir "$PROGRAMFILES64\Nabz"
RequestExecutionLevel admin
SetCompressor /SOLID lzma
ShowInstDetails show
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Var Gateway
Var Seat
Var KeyFile
Var Data
Var Log

Function .onInit
    SetRegView 64
    SetShellVarContext all
    ReadEnvStr $Data ProgramData
    StrCpy $Data "$Data\Nabz"
    ${GetParameters} $0
    ${GetOptions} $0 "/GATEWAY=" $Gateway
    ${GetOptions} $0 "/NAME=" $Seat
    ${GetOptions} $0 "/KEYFILE=" $KeyFile
    ${If} $Gateway == ""
        ReadINIStr $Gateway "$EXEDIR\nabz-seat.ini" seat gateway
    ${EndIf}
    ${If} $Seat == ""
        ReadINIStr $Seat "$EXEDIR\nabz-seat.ini" seat name
    ${EndIf}
    ${If} $KeyFile == ""
        StrCpy $KeyFile "$EXEDIR\seat.key"
    ${EndIf}
FunctionEnd

!macro Say TEXT
    DetailPrint "${TEXT}"
    ${If} $Log != ""
        FileWriteUTF16LE $Log "${TEXT}$\r$\n"
    ${EndIf}
!macroend
!define Say "!insertmacro Say"

!macro Fail CODE TEXT
    ${Say} "${TEXT}"
    SetErrorLevel ${CODE}
    Abort "${TEXT}"
!macroend
!define Fail "!insertmacro Fail"

; Runs a command, logs what it printed, and leaves its exit code in $0.
!macro Run COMMAND
    StrCpy $3 `${COMMAND}`
    nsExec::ExecToStack $3
    Pop $0
    Pop $1
    ${Say} "exit $0: $3 $1"
!macroend
!define Run "!insertmacro Run"

Section
    CreateDirectory "$Data"
    FileOpen $Log "$Data\setup.log" w
    ${Say} "Nabz seat ${VERSION}: gateway $Gateway, seat $Seat, key $KeyFile"
    ${If} $Gateway == ""
        ${Fail} 2 "No gateway: give /GATEWAY=ADDRESS:8471, or nabz-seat.ini beside this file."
    ${EndIf}
    ${If} $Gateway == "http:"
        ${Fail} 2 "A slash begins the next option: give /GATEWAY=ADDRESS:PORT, without http://."
    ${EndIf}
    ${IfNot} ${FileExists} "$KeyFile"
        ${Fail} 2 "There is no $KeyFile: save there what nabz-agent seat-key printed, or give /KEYFILE=FILE."
    ${EndIf}
    ; Names of accounts are translated; their numbers are not: SYSTEM, Administrators, LOCAL SERVICE.
    ${Run} 'icacls.exe "$Data" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F *S-1-5-19:(OI)(CI)M /Q'
    ${If} $0 != 0
        ${Fail} 1 "$Data cannot be protected."
    ${EndIf}
    ${Run} 'schtasks.exe /End /TN "${TASK}"'
    CopyFiles /SILENT "$KeyFile" "$Data\seat.key"
    ${If} ${FileExists} "$EXEDIR\update-root.json"
        CopyFiles /SILENT "$EXEDIR\update-root.json" "$Data\update-root.json"
    ${EndIf}
    RMDir /r "$INSTDIR"
    SetOutPath "$INSTDIR"
    File /r "${PROGRAM}/*"
    WriteUninstaller "$INSTDIR\uninstall.exe"
    Call Try
    Call Register
    Call List
    ${Say} "installed"
    FileClose $Log
SectionEnd

; Wrong words are known at once; a gateway that does not answer may be off.
Function Try
    ${Run} '"$INSTDIR\python.exe" -I -m agent.seat once --gateway "http://$Gateway" --name "$Seat" --key-file "$Data\seat.key" --state-dir "$Data"'
    ${If} $0 == 2
        ${Fail} 2 "The program does not take these settings: $1"
    ${EndIf}
    ${If} $0 != 0
    ${AndIf} $0 != 1
        ${Fail} 1 "The program does not run: $1"
    ${EndIf}
FunctionEnd

Function Register
    FileOpen $2 "$INSTDIR\task.xml" w
    FileWriteUTF16LE /BOM $2 '<?xml version="1.0" encoding="UTF-16"?>$\r$\n'
    FileWriteUTF16LE $2 '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">$\r$\n'
    FileWriteUTF16LE $2 '<RegistrationInfo><Description>Tells the gateway of this center how this PC is, nothing about who uses it.</Description></RegistrationInfo>$\r$\n'
    FileWriteUTF16LE $2 '<Triggers><BootTrigger><Enabled>true</Enabled></BootTrigger></Triggers>$\r$\n'
    FileWriteUTF16LE $2 '<Principals><Principal id="Author"><UserId>S-1-5-19</UserId><RunLevel>LeastPrivilege</RunLevel></Principal></Principals>$\r$\n'
    FileWriteUTF16LE $2 '<Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy><DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>'
    FileWriteUTF16LE $2 '<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries><StartWhenAvailable>true</StartWhenAvailable><ExecutionTimeLimit>PT0S</ExecutionTimeLimit>'
    FileWriteUTF16LE $2 '<Priority>8</Priority><RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure></Settings>$\r$\n'
    FileWriteUTF16LE $2 '<Actions Context="Author"><Exec><Command>%SystemRoot%\System32\cmd.exe</Command>'
    FileWriteUTF16LE $2 '<Arguments>/d /c ""$INSTDIR\python.exe" -I -m agent.seat run --gateway "http://$Gateway" --name "$Seat" --key-file "$Data\seat.key" --state-dir "$Data" &gt; "$Data\seat.log" 2&gt;&amp;1"</Arguments>'
    FileWriteUTF16LE $2 '<WorkingDirectory>$Data</WorkingDirectory></Exec></Actions></Task>$\r$\n'
    FileClose $2
    ${Run} 'schtasks.exe /Create /TN "${TASK}" /XML "$INSTDIR\task.xml" /F'
    ${If} $0 != 0
        ${Fail} 1 "The task cannot be registered."
    ${EndIf}
    ${Run} 'schtasks.exe /Run /TN "${TASK}"'
FunctionEnd

Function List
    WriteRegStr HKLM "${KEY}" DisplayName "Nabz seat"
    WriteRegStr HKLM "${KEY}" DisplayVersion "${VERSION}"
    WriteRegStr HKLM "${KEY}" InstallLocation "$INSTDIR"
    WriteRegStr HKLM "${KEY}" UninstallString '"$INSTDIR\uninstall.exe"'
    WriteRegStr HKLM "${KEY}" QuietUninstallString '"$INSTDIR\uninstall.exe" /S'
    WriteRegDWORD HKLM "${KEY}" NoModify 1
    WriteRegDWORD HKLM "${KEY}" NoRepair 1
FunctionEnd

; With the seat's key: what is left behind would speak for it.
Section Uninstall
    SetRegView 64
    ReadEnvStr $Data ProgramData
    nsExec::Exec 'schtasks.exe /End /TN "${TASK}"'
    Pop $0
    nsExec::Exec 'schtasks.exe /Delete /TN "${TASK}" /F'
    Pop $0
    RMDir /r "$Data\Nabz"
    RMDir /r "$INSTDIR"
    DeleteRegKey HKLM "${KEY}"
SectionEnd

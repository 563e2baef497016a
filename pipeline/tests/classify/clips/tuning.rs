//! The clips on which the decisions were tuned: two sets, the second of which once judged the first.

use super::{COARSE, Clip, FINE, H264, OLD, WORDS, clip, prose, slides, text, world};
use pipeline::stages::classify::kinds::Kind::{Animation, Camera, Dark, Screen, Still};

/// All of them.
pub fn all() -> Vec<Clip> {
    vec![
        clip(Screen, "slides", slides("640x360", 4, 1.2, "white", "black"), H264),
        clip(Screen, "dark slides", slides("1280x720", 3, 1.5, "0x202830", "white"), H264),
        clip(
            Screen,
            "terminal",
            format!(
                "color=black:s=640x360:r=30:d=5,{}",
                text(&prose(80, 7, 2), "8", "8-18*floor(6*t)", 14, "0xcccccc")
            ),
            H264,
        ),
        clip(
            Screen,
            "window dragged",
            format!(
                "color=0x2d5a88:s=854x480:r=30:d=5,{}[d];color=0xf0f0f0:s=300x200:r=30:d=5,drawbox=w=300:h=22:color=0x4060c0:t=fill,{}[w];[d][w]overlay=x='40+50*floor(8*t)/8':y='60+20*t':eval=frame",
                text(&prose(3, 2, 5), "20", "20", 16, "white"),
                text(&prose(6, 4, 8), "10", "34", 15, "black")
            ),
            H264,
        ),
        clip(
            Screen,
            "typing",
            format!(
                "color=0xfdf6e3:s=640x360:r=25:d=5,{},drawbox=x='20':y=40:w=9:h=17:color=red:t=fill:enable='lt(mod(t,1),0.5)',{}",
                text(&prose(8, 6, 1), "20", "70", 17, "0x333333"),
                (0..8)
                    .map(|n| format!(
                        "drawtext=text='{}':x={}:y=40:fontsize=17:fontcolor=black:enable='gt(t,{})'",
                        WORDS[n],
                        40 + 62 * n,
                        n as f64 * 0.5
                    ))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            H264,
        ),
        clip(Animation, "mandelbrot", "mandelbrot=s=640x360:r=25,trim=duration=5", H264),
        clip(Animation, "gradients", "gradients=s=640x360:r=25:d=5:speed=0.02:seed=3:n=4", H264),
        clip(
            Animation,
            "life",
            "life=s=80x45:r=12:mold=12:ratio=0.3:seed=4:life_color=yellow:death_color=blue:mold_color=teal,scale=640:360:flags=neighbor,trim=duration=5",
            H264,
        ),
        clip(
            Animation,
            "boxes on a meadow",
            "color=skyblue:s=640x360:r=24:d=5,drawbox=y=240:h=120:color=green:t=fill[m];color=red:s=90x90:r=24:d=5,format=rgba,rotate=a=2*t:c=none:ow=130:oh=130[r];color=orange:s=60x120:r=24:d=5[o];[m][r]overlay=x='520-110*t':y='180+40*sin(6*t)'[n];[n][o]overlay=x='60+90*t':y=150",
            H264,
        ),
        clip(Animation, "sierpinski", "sierpinski=s=640x360:r=25:seed=2,trim=duration=5", H264),
        clip(
            Camera,
            "pan",
            format!("{},crop=640:360:x='60+50*t':y='40+10*sin(2*t)',noise=alls=9:allf=t", world("1280x720", 5.0, 3)),
            H264,
        ),
        clip(
            Camera,
            "shaky zoom",
            format!(
                "{},crop=960:540:x='100+6*sin(17*t)+20*t':y='80+5*sin(13*t)',scale=854:480,eq=saturation=1.4,noise=alls=14:allf=t",
                world("1280x720", 5.0, 11)
            ),
            H264,
        ),
        clip(
            Camera,
            "still room with noise",
            format!("{},gblur=sigma=1.2,noise=alls=12:allf=t", world("640x360", 5.0, 21)),
            FINE,
        ),
        clip(
            Camera,
            "film with cuts",
            format!(
                "{},crop=640:272:x='20*t':y=20,gblur=sigma=0.8,pad=640:360:0:44[x];{},crop=640:272:x='90-15*t':y='10*t',pad=640:360:0:44[y];[x][y]concat=n=2,noise=alls=7:allf=t",
                world("854x480", 2.5, 31),
                world("854x480", 2.5, 41)
            ),
            H264,
        ),
        clip(
            Camera,
            "somebody walks by",
            format!(
                "{}[bg];{},crop=90:220[p];[bg][p]overlay=x='-60+130*t':y=100,noise=alls=8:allf=t",
                world("640x360", 5.0, 51),
                world("320x360", 5.0, 61)
            ),
            COARSE,
        ),
        clip(Still, "photo", format!("{},gblur=sigma=0.7", world("640x360", 5.0, 71)), H264),
        clip(Still, "photo in borders", format!("{},crop=360:360,pad=640:360:140:0", world("640x360", 4.0, 81)), FINE),
        clip(
            Still,
            "cover",
            "mandelbrot=s=480x480:r=1:start_scale=0.3,trim=end_frame=1,loop=100:1,setpts=N/25/TB,fps=25",
            H264,
        ),
        clip(Still, "old photo", format!("{},hue=s=0", world("720x576", 4.0, 91)), OLD),
        clip(Dark, "black", "color=black:s=640x360:r=25:d=4", H264),
        clip(Dark, "lens cap", "color=0x040404:s=640x360:r=25:d=4,noise=alls=8:allf=t", H264),
        clip(
            Dark,
            "night",
            format!("{},curves=all='0/0 1/0.10',noise=alls=5:allf=t", world("640x360", 4.0, 101)),
            H264,
        ),
        clip(
            Dark,
            "fade from black and back",
            "color=black:s=480x270:r=30:d=4,drawbox=w=iw:h=ih:color=0x101010:t=fill:enable='between(t,1,2)'",
            COARSE,
        ),
        clip(Screen, "lecture", slides("854x480", 2, 2.2, "0xfffaf0", "0x203060"), OLD),
        clip(Screen, "many slides", slides("480x270", 7, 0.6, "0xe8f0ff", "black"), COARSE),
        clip(
            Screen,
            "log that runs",
            format!(
                "color=0x101820:s=800x600:r=15:d=5,{}",
                text(&prose(120, 9, 4), "4", "580-20*floor(9*t)", 15, "lime")
            ),
            H264,
        ),
        clip(
            Screen,
            "spreadsheet",
            format!(
                "color=white:s=1024x576:r=30:d=5,drawgrid=w=128:h=24:color=0xc0c0c0,{},drawbox=x='0':y=48:w=128:h=24:color=0x3070ff:t=3:enable='lt(t,2)',drawbox=x=256:y=96:w=128:h=24:color=0x3070ff:t=3:enable='gte(t,2)'",
                text(&prose(20, 10, 6), "6", "4", 16, "black")
            ),
            FINE,
        ),
        clip(
            Screen,
            "page scrolled",
            format!(
                "color=white:s=640x1600:r=25:d=5,drawbox=x=40:y=300:w=240:h=140:color=0x88aa66:t=fill,drawbox=x=320:y=900:w=260:h=200:color=0xaa6655:t=fill,{},crop=640:360:0:'min(1200,floor(t*5)*70)'",
                text(&prose(60, 8, 9), "40", "20", 18, "0x222222")
            ),
            H264,
        ),
        clip(
            Screen,
            "program in dark mode",
            format!(
                "color=0x1e1e1e:s=1280x720:r=30:d=4,drawbox=w=200:h=720:color=0x252526:t=fill,{},{},drawbox=x=420:y=310:w=10:h=20:color=white:t=fill:enable='lt(mod(t,1),0.5)'",
                text(&prose(24, 8, 3), "220", "20", 20, "0x9cdcfe"),
                text(&prose(20, 2, 12), "14", "24", 18, "0xcccccc")
            ),
            H264,
        ),
        clip(
            Animation,
            "deep mandelbrot",
            "mandelbrot=s=854x480:r=30:start_scale=0.02:inner=period,trim=duration=4",
            OLD,
        ),
        clip(
            Animation,
            "cells",
            "cellauto=s=320x180:r=25:rule=110:full=1:seed=5,scale=640:360:flags=neighbor,hue=h=40,trim=duration=5",
            H264,
        ),
        clip(Animation, "spectrum turning", "colorspectrum=s=480x270:r=25:type=all,hue=h=90*t,trim=duration=4", H264),
        clip(
            Animation,
            "cartoon with cuts",
            "color=0xffd9a0:s=854x480:r=24:d=2.4,drawbox=y=330:h=150:color=0x8a5a2b:t=fill[p];color=purple:s=110x110:r=24:d=2.4,format=rgba,geq=r=150:g=40:b=160:a='255*lt(hypot(X-55,Y-55),54)'[q];[p][q]overlay=x='100+200*t':y='220-120*abs(sin(5*t))'[one];color=0x203070:s=854x480:r=24:d=2.4,drawbox=y=380:h=100:color=0x101840:t=fill[s];color=yellow:s=160x160:r=24:d=2.4,format=rgba,geq=r=250:g=230:b=60:a='255*lt(hypot(X-80,Y-80),79)'[t];[s][t]overlay=x='600-120*t':y='40+60*t'[two];[one][two]concat=n=2",
            H264,
        ),
        clip(
            Animation,
            "drawn on twos",
            "color=pink:s=640x360:r=12:d=4,drawbox=y=260:h=100:color=0x60a060:t=fill[m];color=brown:s=80x140:r=12:d=4,format=rgba,rotate=a='0.3*sin(4*t)':c=none:ow=150:oh=180[b];[m][b]overlay=x='40+110*t':y='120+20*sin(9*t)',fps=24",
            COARSE,
        ),
        clip(Animation, "shaded", "gradients=s=1280x720:r=30:d=4:speed=0.05:seed=9:n=3:type=radial", COARSE),
        clip(
            Camera,
            "handheld",
            format!(
                "{},crop=800:450:x='70+9*sin(11*t)+4*sin(29*t)':y='50+7*sin(14*t)',scale=1280:720,gblur=sigma=0.6,noise=alls=10:allf=t",
                world("1024x576", 4.0, 7)
            ),
            H264,
        ),
        clip(
            Camera,
            "webcam",
            format!(
                "{}[bg];{},crop=200:260,scale=200:260[p];[bg][p]overlay=x='220+8*sin(3*t)':y='90+4*sin(5*t)',gblur=sigma=1.5,noise=alls=16:allf=t",
                world("640x480", 5.0, 17),
                world("320x360", 5.0, 27)
            ),
            COARSE,
        ),
        clip(
            Camera,
            "news",
            format!(
                "{},crop=854:480:x='30*t':y=30,noise=alls=8:allf=t,drawbox=x=40:y=400:w=500:h=50:color=0x2030a0:t=fill,{}",
                world("1100x620", 5.0, 37),
                text("river of stone", "60", "410", 28, "white")
            ),
            H264,
        ),
        clip(
            Camera,
            "black and white film",
            format!(
                "{},crop=640:480:x='100-12*t':y='40+8*t',hue=s=0,vignette,noise=alls=18:allf=t",
                world("854x620", 4.0, 47)
            ),
            FINE,
        ),
        clip(Camera, "tripod", format!("{},vignette=PI/5,noise=alls=7:allf=t", world("960x540", 4.0, 57)), H264),
        clip(
            Camera,
            "portrait",
            format!("{},crop=360:640:x='40*t':y='20+6*sin(9*t)',noise=alls=11:allf=t", world("640x720", 5.0, 67)),
            OLD,
        ),
        clip(Still, "record sleeve", format!("{},crop=480:480,eq=saturation=1.8", world("854x480", 5.0, 77)), COARSE),
        clip(Still, "picture of a forest", format!("{},unsharp=5:5:0.8", world("1280x720", 4.0, 87)), H264),
        clip(Still, "wide photo", format!("{},crop=854:300,pad=854:480:0:90", world("854x480", 4.0, 97)), OLD),
        clip(
            Still,
            "fractal print",
            "mandelbrot=s=640x360:r=1:start_scale=0.05,trim=end_frame=1,loop=125:1,setpts=N/25/TB,fps=25",
            FINE,
        ),
        clip(Still, "faded photo", format!("{},eq=contrast=0.6:brightness=0.1", world("480x360", 6.0, 107)), H264),
        clip(Dark, "nothing", "color=0x000000:s=320x240:r=15:d=5", OLD),
        clip(
            Dark,
            "cellar",
            format!(
                "{},crop=640:360:x='10*t':y=10,curves=all='0/0 1/0.08',noise=alls=4:allf=t",
                world("800x450", 4.0, 117)
            ),
            H264,
        ),
        clip(Dark, "pocket", "color=0x060504:s=720x1280:r=30:d=3,noise=alls=10:allf=t", COARSE),
        clip(Dark, "dim gradient", "gradients=s=640x360:r=25:d=4:c0=black:c1=0x141414:c2=0x0a0a10:n=3:seed=2", H264),
    ]
}

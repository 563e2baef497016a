//! The clips by which the decisions are judged: drawn in other ways than those they were tuned on, and never looked at for that.

use super::{COARSE, Clip, FINE, H264, OLD, clip, prose, text};
use pipeline::stages::classify::kinds::Kind::{Animation, Camera, Dark, Screen, Still};

const NEW: &str = "-c:v libx265 -preset ultrafast -crf 26 -x265-params log-level=error -tag:v hvc1";
const PHONE: &str = "-c:v libx264 -preset medium -crf 27";

/// A hill before a sky, with grass and clouds; it does not move.
fn scenery(width: u32, height: u32, seconds: f64, seed: u32) -> String {
    let ridge = format!("H*(0.45+0.09*sin(X/W*5+{seed})+0.05*sin(X/W*17+{seed}*2)+0.02*sin(X/W*61+{seed}*3))");
    let light = format!(
        "lum='if(gt(Y,{ridge}),120-50*(Y/H)+20*sin((X+2*Y)/37),215-70*Y/H)':cb='if(gt(Y,{ridge}),114,146)':cr='if(gt(Y,{ridge}),125,116)'"
    );
    let grain = |divided: u32, luma: u32, chroma: u32, seed: u32, flags: &str| {
        let (columns, rows) = (width / divided, height / divided);
        format!(
            "color=gray:s={columns}x{rows}:r=25:d=0.04,format=yuv420p,noise=c0s={luma}:c1s={chroma}:c2s={chroma}:all_seed={seed},scale={width}x{height}:flags={flags}"
        )
    };
    format!(
        "nullsrc=s={width}x{height}:r=25:d=0.04,format=yuv420p,geq={light}[l{seed}];{}[m{seed}];{}[n{seed}];[m{seed}][n{seed}]blend=all_mode=average[o{seed}];[l{seed}][o{seed}]blend=all_mode=overlay,gblur=sigma=0.6,loop=loop=-1:size=1,trim=duration={seconds},setpts=N/25/TB",
        grain(24, 90, 16, seed, "bilinear"),
        grain(2, 80, 8, seed + 1, "spline"),
    )
}

/// A disc of a colour, and nothing around it.
fn disc(side: u32, [red, green, blue]: [u8; 3], seconds: f64) -> String {
    format!(
        "color=black:s={side}x{side}:r=25:d={seconds},format=rgba,geq=r={red}:g={green}:b={blue}:a='255*lt(hypot(X-W/2,Y-H/2),W/2-1)'"
    )
}

/// All of them.
pub fn all() -> Vec<Clip> {
    let mut all = screens();
    all.extend(animations());
    all.extend(cameras());
    all.extend(stills());
    all.extend(darks());
    all
}

fn screens() -> Vec<Clip> {
    let boxes = |count: usize| {
        let field = |n: usize| {
            let (x, y) = (60 + 420 * (n % 2), 90 + 56 * (n / 2));
            format!("drawbox=x={x}:y={y}:w=340:h=30:color=0xa0a0a0:t=1")
        };
        (0..count).map(field).collect::<Vec<_>>().join(",")
    };
    let bubbles: String = (0..7)
        .map(|n| {
            let (x, colour) = if n % 2 == 0 { (20, "0xdcf8c6") } else { (180, "0xe8e8e8") };
            let (y, from) = (30 + 84 * n, 0.6 * n as f64);
            format!(
                ",drawbox=x={x}:y={y}:w=340:h=64:color={colour}:t=fill:enable='gte(t,{from})',drawtext=text='{}':x={}:y={}:fontsize=17:fontcolor=black:enable='gte(t,{from})'",
                prose(2, 4, n + 20),
                x + 12,
                y + 12
            )
        })
        .collect();
    let bars: String = (0..9)
        .map(|n| {
            format!(
                ",drawbox=x={}:y=560-{}:w=50:h={}:color={}:t=fill",
                90 + 90 * n,
                60 + 41 * (n * n % 9),
                60 + 41 * (n * n % 9),
                ["0x3366cc", "0xdc3912", "0xff9900"][n % 3]
            )
        })
        .collect();
    let difference: String = (0..12)
        .map(|n| {
            let colour = if n % 3 == 0 { "0xffdddd" } else { "0xddffdd" };
            format!(",drawbox=x={}:y={}:w=440:h=20:color={colour}:t=fill", 480 * (n % 2), 40 + 100 * (n / 2))
        })
        .collect();
    vec![
        clip(
            Screen,
            "form filled in",
            format!(
                "color=0xf4f4f8:s=960x540:r=15:d=5,{},{},drawbox=x=60:y=480:w=150:h=36:color=0x2a7ae2:t=fill,{}",
                boxes(12),
                text(&prose(1, 4, 31), "60", "30", 26, "0x202020"),
                (0..5)
                    .map(|n| format!(
                        "drawtext=text='{}':x={}:y={}:fontsize=18:fontcolor=black:enable='gte(t,{n})'",
                        prose(1, 2, n + 3),
                        68 + 420 * (n % 2),
                        96 + 56 * (n / 2)
                    ))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            H264,
        ),
        clip(Screen, "chat", format!("color=white:s=540x960:r=30:d=5{bubbles}"), PHONE),
        clip(
            Screen,
            "two versions of a program",
            format!(
                "color=white:s=960x1400:r=25:d=5{difference},{},{},crop=960:540:0:'min(800,60*floor(3*t))'",
                text(&prose(55, 6, 14), "10", "4", 17, "0x303030"),
                text(&prose(55, 6, 15), "490", "4", 17, "0x303030")
            ),
            NEW,
        ),
        clip(
            Screen,
            "chart of figures",
            format!(
                "color=white:s=1000x620:r=10:d=6{bars},{},drawtext=text='%{{pts\\:flt}}':x=800:y=20:fontsize=30:fontcolor=0x2266aa",
                text(&prose(1, 5, 41), "90", "20", 30, "black")
            ),
            H264,
        ),
        clip(
            Screen,
            "slides that fade",
            format!(
                "color=white:s=800x450:r=25:d=2.5,{},{}[a];color=0x003366:s=800x450:r=25:d=2.5,{},{}[b];color=white:s=800x450:r=25:d=2.5,{}[c];[a][b]xfade=duration=0.4:offset=1.8[ab];[ab][c]xfade=duration=0.4:offset=3.6",
                text(&prose(1, 3, 51), "60", "50", 40, "0x003366"),
                text(&prose(4, 5, 52), "80", "160", 24, "black"),
                text(&prose(1, 2, 53), "60", "50", 44, "white"),
                text(&prose(5, 4, 54), "80", "150", 26, "0xffe080"),
                text(&prose(7, 6, 55), "60", "60", 24, "black")
            ),
            COARSE,
        ),
        clip(
            Screen,
            "lecture with the speaker in a corner",
            format!(
                "{},crop=240:180:x='60+5*sin(4*t)':y='90+3*sin(7*t)',noise=alls=8:allf=t[p];color=0xfffdf4:s=1280x720:r=25:d=5,{},{}[s];[s][p]overlay=x=1030:y=530",
                scenery(480, 360, 5.0, 61),
                text(&prose(1, 4, 62), "80", "60", 52, "0x7a1f1f"),
                text(&prose(8, 7, 63), "100", "190", 32, "0x222222")
            ),
            H264,
        ),
        clip(
            Screen,
            "two windows",
            format!(
                "color=0x356a8a:s=1024x640:r=25:d=5,drawbox=x=40:y=50:w=520:h=420:color=white:t=fill,drawbox=x=40:y=50:w=520:h=28:color=0xcccccc:t=fill,drawbox=x=430:y=200:w=540:h=400:color=0x1c1c1c:t=fill,{},{},{}",
                text(&prose(17, 6, 71), "52", "90", 17, "black"),
                text(&prose(9, 6, 72), "440", "210", 17, "0x80ff80"),
                (0..6)
                    .map(|n| format!(
                        "drawtext=text='{}':x=440:y={}:fontsize=17:fontcolor=0x80ff80:enable='gte(t,{})'",
                        prose(1, 6, n + 80),
                        420 + 24 * n,
                        0.7 * n as f64
                    ))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            OLD,
        ),
    ]
}

fn animations() -> Vec<Clip> {
    vec![
        clip(
            Animation,
            "balls that bounce",
            format!(
                "color=0xbfe6ff:s=720x480:r=25:d=4,drawbox=y=400:h=80:color=0x9acd6a:t=fill[g];{}[a];{}[b];[g][a]overlay=x='40+140*t':y='310-250*abs(sin(3*t))'[h];[h][b]overlay=x='560-90*t':y='280-200*abs(cos(2.3*t))'",
                disc(90, [230, 60, 60], 4.0),
                disc(130, [250, 190, 40], 4.0)
            ),
            NEW,
        ),
        clip(
            Animation,
            "plasma",
            "nullsrc=s=320x180:r=25:d=4,format=yuv420p,geq=lum='128+50*sin(X/23+3*T)+50*sin((X+Y)/31-2*T)':cb='128+70*sin(Y/19+2*T)':cr='128+70*cos(X/29-T)',scale=640:360",
            H264,
        ),
        clip(
            Animation,
            "landscape passes by",
            "color=0x87ceeb:s=1800x480:r=24:d=5,format=yuv420p,geq=lum='if(gt(Y,300+60*sin(X/90)),if(gt(Y,380+30*sin(X/47)),70,110),190)':cb='if(gt(Y,300+60*sin(X/90)),95,150)':cr='if(gt(Y,300+60*sin(X/90)),110,105)',crop=854:480:x='150*t':y=0",
            H264,
        ),
        clip(
            Animation,
            "puppet talks",
            format!(
                "color=0xf0d0a0:s=640x480:r=25:d=5,drawbox=y=360:h=120:color=0x704020:t=fill[g];{}[head];{}[eye];{}[ear];[g][head]overlay=x='200+14*sin(3*t)':y='80+6*sin(5*t)'[a];[a][eye]overlay=x='270+14*sin(3*t)':y=150[b];[b][ear]overlay=x='350+14*sin(3*t)':y=150,drawbox=x=290:y=250:w=70:h=26:color=0x801010:t=fill:enable='lt(mod(t,0.4),0.2)'",
                disc(240, [255, 220, 120], 5.0),
                disc(36, [30, 30, 60], 5.0),
                disc(36, [30, 30, 60], 5.0)
            ),
            PHONE,
        ),
        clip(
            Animation,
            "ball over a chessboard",
            format!(
                "nullsrc=s=640x360:r=25:d=4,format=yuv420p,geq=lum='if(lt(Y,120),170-Y/3,if(mod(floor((X-320)*60/(Y-80)/20+4*T+50)+floor(4000/(Y-80)/5-3*T+500),2),200,60))':cb='if(lt(Y,120),160,120)':cr='if(lt(Y,120),100,140)'[f];{}[b];[f][b]overlay=x='220+120*sin(2*t)':y='60+90*abs(sin(4*t))'",
                disc(150, [200, 40, 120], 4.0)
            ),
            COARSE,
        ),
        clip(
            Animation,
            "stars fly by",
            "color=0x101048:s=640x360:r=30:d=4,format=yuv420p[s];life=s=160x90:r=30:ratio=0.06:mold=0:life_color=white:death_color=black:seed=8,scale=1280:720:flags=neighbor,crop=640:360:x='80*t':y='50*t',trim=duration=4,format=yuv420p[l];[s][l]blend=all_mode=lighten[m];color=0xff8030:s=120x60:r=30:d=4[r];[m][r]overlay=x='-100+190*t':y='240-50*t'",
            H264,
        ),
        clip(
            Animation,
            "wheel of colours",
            "color=black:s=480x480:r=25:d=4,format=rgb24,geq=r='128+127*sin(3*atan2(Y-240,X-240)+4*T)':g='128+127*sin(3*atan2(Y-240,X-240)+4*T+2.1)':b='128+127*sin(3*atan2(Y-240,X-240)+4*T+4.2)'",
            FINE,
        ),
    ]
}

fn cameras() -> Vec<Clip> {
    vec![
        clip(
            Camera,
            "walk over a hill",
            format!(
                "{},crop=800:450:x='40*t+7*sin(9*t)':y='30+9*abs(sin(6*t))',scale=1280:720,noise=alls=6:allf=t",
                scenery(1100, 540, 5.0, 201)
            ),
            H264,
        ),
        clip(
            Camera,
            "trees before a hill",
            format!(
                "{}[far];{},crop=160:360[near];[far][near]overlay=x='600-150*t':y=40,crop=640:360:x='20+15*t':y=10,gblur=sigma=0.7,noise=alls=9:allf=t",
                scenery(800, 400, 4.0, 211),
                scenery(400, 400, 4.0, 221)
            ),
            PHONE,
        ),
        clip(
            Camera,
            "dusk",
            format!(
                "{},crop=640:360:x='12*t':y=20,curves=all='0/0 1/0.45',eq=saturation=0.7,noise=alls=14:allf=t",
                scenery(760, 420, 5.0, 231)
            ),
            H264,
        ),
        clip(
            Camera,
            "water",
            format!(
                "{}[w];nullsrc=s=480x270:r=25:d=4,format=gray,geq=lum='128+9*sin(Y/7+6*T)+5*sin(X/11-5*T)'[x];nullsrc=s=480x270:r=25:d=4,format=gray,geq=lum='128+7*cos(X/9+4*T)'[y];[w]format=gbrp[v];[x]format=gbrp[xx];[y]format=gbrp[yy];[v][xx][yy]displace=edge=mirror,format=yuv420p,noise=alls=6:allf=t",
                scenery(480, 270, 4.0, 241)
            ),
            H264,
        ),
        clip(
            Camera,
            "fast pan with blur",
            format!(
                "{},crop=640:360:x='500+480*sin(1.6*t)':y=40,tmix=frames=3,noise=alls=6:allf=t",
                scenery(1700, 460, 4.0, 251)
            ),
            OLD,
        ),
        clip(
            Camera,
            "old film that flickers",
            format!(
                "{},crop=640:480:x='30+3*sin(31*t)':y='20+4*sin(23*t)',hue=s=0,eq=brightness='0.06*sin(40*t)':eval=frame,noise=alls=22:allf=t",
                scenery(720, 540, 4.0, 261)
            ),
            NEW,
        ),
        clip(
            Camera,
            "phone held upright",
            format!(
                "{},crop=540:960:x='100+50*t+5*sin(8*t)':y='40+8*sin(5*t)',noise=alls=7:allf=t",
                scenery(1000, 1080, 4.0, 271)
            ),
            COARSE,
        ),
        clip(
            Camera,
            "interview before a blurred wall",
            format!(
                "{},gblur=sigma=14[bg];{},crop=260:360[p];[bg][p]overlay=x='300+6*sin(2*t)':y='120+3*sin(5*t)',noise=alls=7:allf=t",
                scenery(854, 480, 5.0, 281),
                scenery(400, 480, 5.0, 291)
            ),
            H264,
        ),
    ]
}

fn stills() -> Vec<Clip> {
    vec![
        clip(Still, "postcard", scenery(720, 480, 5.0, 301), PHONE),
        clip(
            Still,
            "portrait in a frame",
            format!("{},crop=400:560,pad=960:600:280:20:color=0x503820", scenery(640, 600, 4.0, 311)),
            H264,
        ),
        clip(
            Still,
            "poster of a concert",
            format!(
                "{},eq=contrast=1.2,{}",
                scenery(640, 640, 5.0, 321),
                text(&prose(1, 3, 91), "60", "80", 48, "white")
            ),
            NEW,
        ),
        clip(Still, "grey photo", format!("{},hue=s=0,eq=contrast=0.8", scenery(800, 600, 4.0, 331)), OLD),
        clip(Still, "blurred photo", format!("{},gblur=sigma=3", scenery(1280, 720, 4.0, 341)), FINE),
    ]
}

fn darks() -> Vec<Clip> {
    vec![
        clip(
            Dark,
            "lamp far away",
            "color=0x030303:s=640x360:r=25:d=4,drawbox=x=500:y=80:w=6:h=6:color=0xffe0a0:t=fill,noise=alls=6:allf=t",
            H264,
        ),
        clip(
            Dark,
            "moor at night",
            format!(
                "{},crop=640:360:x='30*t':y=20,curves=all='0/0 1/0.09',noise=alls=5:allf=t",
                scenery(800, 420, 4.0, 401)
            ),
            PHONE,
        ),
        clip(Dark, "cap in the sun", "color=0x100404:s=480x640:r=30:d=4,noise=alls=12:allf=t,gblur=sigma=1", COARSE),
        clip(Dark, "pause", "color=0x0a0a0a:s=1280x720:r=25:d=4", NEW),
    ]
}
